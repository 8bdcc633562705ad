package openstack

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/billet-metal/billet/node"
)

// Registration is what a cloud must know of a Bare Metal service.
type Registration struct {
	User, Password string            // Billet's own; with "" an account that is there keeps its password
	Project        string            // of the service users
	Domain         string            // of both, by name
	Roles          []string          // in the project. service: Neutron binds ports for no other; admin: Glance shows it every image
	Name           string            // of the service in the catalog
	Region         string            // by ID
	Endpoints      map[string]string // by interface: public, internal, admin
}

// baremetal is the type of the service in the catalog, by which clients find it.
const baremetal = "baremetal"

// Registered says what there is now, a line for a thing.
type Registered struct{ Done, Found []string }

// Register makes in Keystone what is not there and changes what is otherwise; doing it again does nothing. The session is an
// administrator's.
func Register(ctx context.Context, s *Session, r Registration) (done Registered, err error) {
	k := registrar{s, &done}
	domain, err := k.find(ctx, "domains", url.Values{"name": {r.Domain}})
	if err != nil {
		return done, err
	}
	if domain == nil {
		return done, node.Errorf(node.NotFound, "Keystone has no domain %s", r.Domain)
	}
	project, err := k.ensure(ctx, thing{"project", "projects", r.Project}, fields{"name": r.Project, "domain_id": domain.id()}, nil)
	if err != nil {
		return done, err
	}
	user, err := k.ensureUser(ctx, r, domain.id())
	if err != nil {
		return done, err
	}
	for _, name := range r.Roles {
		role, err := k.ensure(ctx, thing{"role", "roles", name}, fields{"name": name}, nil)
		if err == nil {
			err = k.grant(ctx, r, project.id(), user.id(), role.id(), name)
		}
		if err != nil {
			return done, err
		}
	}
	if err := k.region(ctx, r.Region); err != nil {
		return done, err
	}
	service, err := k.ensure(ctx, thing{"service", "services", r.Name}, fields{"type": baremetal, "name": r.Name}, nil)
	if err != nil {
		return done, err
	}
	for _, face := range slices.Sorted(maps.Keys(r.Endpoints)) {
		what := thing{"endpoint", "endpoints", face + " of " + r.Name}
		key := fields{"service_id": service.id(), "interface": face, "region_id": r.Region}
		if _, err := k.ensure(ctx, what, key, fields{"url": strings.TrimRight(r.Endpoints[face], "/")}); err != nil {
			return done, err
		}
	}
	return done, nil
}

// registrar makes things by the Identity API, and notes what it did.
type registrar struct {
	session *Session
	*Registered
}

// thing is what is made: its key in a body, its path, and its name for people.
type thing struct{ key, path, name string }

// fields are those of a thing, as JSON has them.
type fields map[string]any

func (f fields) id() string {
	id, _ := f["id"].(string)
	return id
}

func (k registrar) did(format string, args ...any) {
	k.Done = append(k.Done, fmt.Sprintf(format, args...))
}

func (k registrar) was(format string, args ...any) {
	k.Found = append(k.Found, fmt.Sprintf(format, args...))
}

// find returns the first thing that a filter finds; nil: there is none.
func (k registrar) find(ctx context.Context, path string, filter url.Values) (fields, error) {
	var out map[string]any
	if _, err := k.ask(ctx, http.MethodGet, path+"?"+filter.Encode(), nil, &out, "for "+path); err != nil {
		return nil, err
	}
	items, _ := out[path].([]any)
	if len(items) == 0 {
		return nil, nil
	}
	first, _ := items[0].(map[string]any)
	return first, nil
}

// ensure finds the thing that key tells from others, or makes it; more is what it has besides, and is changed where it differs.
func (k registrar) ensure(ctx context.Context, t thing, key, more fields) (fields, error) {
	filter := url.Values{}
	for name, value := range key {
		filter.Set(name, fmt.Sprint(value))
	}
	found, err := k.find(ctx, t.path, filter)
	if err != nil {
		return nil, err
	}
	if found != nil {
		return found, k.change(ctx, t, found, more)
	}
	all := maps.Clone(key)
	maps.Copy(all, more)
	var out map[string]fields
	if _, err := k.ask(ctx, http.MethodPost, t.path, map[string]any{t.key: all}, &out, "to make "+t.key+" "+t.name); err != nil {
		return nil, err
	}
	k.did("made %s %s", t.key, t.name)
	return out[t.key], nil
}

func (k registrar) change(ctx context.Context, t thing, found, want fields) error {
	other := fields{}
	for name, value := range want {
		if found[name] != value {
			other[name] = value
		}
	}
	if len(other) == 0 {
		k.was("%s %s", t.key, t.name)
		return nil
	}
	path := t.path + "/" + url.PathEscape(found.id())
	if _, err := k.ask(ctx, http.MethodPatch, path, map[string]any{t.key: other}, nil, "to change "+t.key+" "+t.name); err != nil {
		return err
	}
	k.did("changed %s %s: %s", t.key, t.name, strings.Join(slices.Sorted(maps.Keys(other)), ", "))
	return nil
}

// ensureUser makes the account, or gives the one that is there the password, which no answer shows.
func (k registrar) ensureUser(ctx context.Context, r Registration, domain string) (fields, error) {
	t := thing{"user", "users", r.User}
	key := fields{"name": r.User, "domain_id": domain}
	found, err := k.find(ctx, t.path, url.Values{"name": {r.User}, "domain_id": {domain}})
	switch {
	case err != nil:
		return nil, err
	case found == nil && r.Password == "":
		return nil, node.Errorf(node.Invalid, "There is no user %s yet: a new one needs a password", r.User)
	case found == nil:
		return k.ensure(ctx, t, key, fields{"password": r.Password})
	case r.Password == "":
		k.was("user %s, whose password stays as it is", r.User)
		return found, nil
	case k.logsIn(ctx, r):
		k.was("user %s, with that password", r.User)
		return found, nil
	}
	return found, k.change(ctx, t, found, fields{"password": r.Password})
}

// logsIn reports whether the account has the password already: setting it anew would end its tokens.
func (k registrar) logsIn(ctx context.Context, r Registration) bool {
	cfg := k.session.cfg
	own := Config{
		AuthURL: cfg.AuthURL, Username: r.User, Password: r.Password, UserDomain: r.Domain, Project: r.Project, ProjectDomain: r.Domain,
		CAFile: cfg.CAFile, Timeout: cfg.Timeout,
	}
	s, err := Open(own)
	if err != nil {
		return false
	}
	_, _, err = s.login(ctx)
	return err == nil
}

// region refuses one that is not there: it is the cloud's, and a mistyped one would hide Billet from everybody.
func (k registrar) region(ctx context.Context, id string) error {
	_, err := k.ask(ctx, http.MethodGet, "regions/"+url.PathEscape(id), nil, nil, "for region "+id)
	if err != nil && node.KindOf(err) == node.NotFound {
		return node.Errorf(node.NotFound, "Keystone has no region %s: OS_REGION_NAME names the one that Billet is in", id)
	}
	return err
}

// grant gives a user a role in a project.
func (k registrar) grant(ctx context.Context, r Registration, project, user, role, name string) error {
	path := "projects/" + project + "/users/" + user + "/roles/" + role
	status, err := k.ask(ctx, http.MethodHead, path, nil, nil, "about the role "+name)
	if err == nil && status == http.StatusNoContent {
		k.was("the role %s of user %s in project %s", name, r.User, r.Project)
		return nil
	}
	if err != nil && node.KindOf(err) != node.NotFound {
		return err
	}
	if _, err := k.ask(ctx, http.MethodPut, path, nil, nil, "to give user "+r.User+" the role "+name); err != nil {
		return err
	}
	k.did("gave user %s the role %s in project %s", r.User, name, r.Project)
	return nil
}

func (k registrar) ask(ctx context.Context, method, path string, in, out any, doing string) (status int, err error) {
	ctx, cancel := k.session.within(ctx)
	defer cancel()
	client, err := k.session.service(ctx, identity, "/v3")
	if err != nil {
		return 0, err
	}
	opts := &gophercloud.RequestOpts{
		JSONBody: in, JSONResponse: out, OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusNoContent},
	}
	resp, err := client.Request(ctx, method, client.Endpoint+path, opts)
	if err != nil {
		return 0, failure(identity, doing, err)
	}
	if out == nil {
		resp.Body.Close()
	}
	return resp.StatusCode, nil
}
