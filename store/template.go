package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// The steps come after the UUID they are sealed with.
var templateColumns = []string{"uuid", "created_at", "updated_at", "name", "description", "extra", "steps"}

var templateListing = listing{
	table: "deploy_templates", alias: "d", notFound: node.DeployTemplateNotFound,
	sortKeys: map[string]string{"uuid": "uuid", "name": "name", "description": "description", "created_at": "created_at", "updated_at": "updated_at"},
}

var templateSelect = "SELECT d.id, d." + strings.Join(templateColumns, ", d.") + " FROM deploy_templates d"

func (s *Store) templateFields(t *node.DeployTemplate) []any {
	return []any{
		&t.UUID, micros{&t.CreatedAt}, micros{&t.UpdatedAt}, &t.Name, &t.Description, forgiving{document{&t.Extra}, &t.Unreadable, "extra"},
		forgiving{sealed{s.seal, &t.UUID, "deploy_template.steps", &t.Steps}, &t.Unreadable, "steps"},
	}
}

func (s *Store) scanTemplate(r scanner) (node.DeployTemplate, error) {
	t := node.DeployTemplate{Extra: node.Document{}}
	err := r.Scan(append([]any{&t.ID}, s.templateFields(&t)...)...)
	s.tellDamage("a value of a deploy template cannot be read; deploys that need it are refused", "deploy_template", t.UUID, t.Unreadable)
	return t, err
}

// CreateDeployTemplate adds t and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty. A
// name belongs to one template.
func (s *Store) CreateDeployTemplate(ctx context.Context, t *node.DeployTemplate) error {
	if err := fresh(&t.UUID, &t.CreatedAt, &t.UpdatedAt); err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		err := row(ctx, tx, insertSQL("deploy_templates", templateColumns)+" RETURNING id", s.templateFields(t)...).Scan(&t.ID)
		return templateConflict(t, err)
	})
}

// DeployTemplate returns a deploy template by UUID or name.
func (s *Store) DeployTemplate(ctx context.Context, ident string) (node.DeployTemplate, error) {
	cond, arg := named("d.", ident)
	t, err := s.scanTemplate(row(ctx, s.read, templateSelect+" WHERE "+cond, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return node.DeployTemplate{}, node.DeployTemplateNotFound(ident)
	}
	if err != nil {
		return node.DeployTemplate{}, fmt.Errorf("read deploy template %s: %w", ident, err)
	}
	return t, nil
}

// DeployTemplates lists deploy templates.
func (s *Store) DeployTemplates(ctx context.Context, p node.Page) ([]node.DeployTemplate, error) {
	return s.listTemplates(ctx, &query{}, p)
}

// DeployTemplatesNamed returns the templates with one of the names, the oldest first.
func (s *Store) DeployTemplatesNamed(ctx context.Context, names []string) ([]node.DeployTemplate, error) {
	if len(names) == 0 {
		return nil, nil
	}
	q := &query{}
	q.in("d.name", anys(names))
	return s.listTemplates(ctx, q, node.Page{})
}

func (s *Store) listTemplates(ctx context.Context, q *query, p node.Page) ([]node.DeployTemplate, error) {
	tail, err := s.page(ctx, templateListing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, "deploy templates", templateSelect+tail, q.args, s.scanTemplate)
}

// SaveDeployTemplate writes all of t but its UUID and CreatedAt, and sets its UpdatedAt.
func (s *Store) SaveDeployTemplate(ctx context.Context, t *node.DeployTemplate) error {
	t.UpdatedAt = node.Now()
	return s.tx(ctx, func(tx *sql.Tx) error {
		saved, err := saveByUUID(ctx, tx, "deploy_templates", templateColumns, s.templateFields(t), t.UUID)
		if err == nil && !saved {
			return node.DeployTemplateNotFound(t.UUID)
		}
		return templateConflict(t, err)
	})
}

// DeleteDeployTemplate removes a deploy template. A deploy under way keeps the steps it has got.
func (s *Store) DeleteDeployTemplate(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "deploy_templates", "deploy template", uuid, node.DeployTemplateNotFound)
}

func templateConflict(t *node.DeployTemplate, err error) error {
	switch duplicate(err) {
	case "deploy_templates_uuid":
		return node.Errorf(node.Conflict, "A deploy template with UUID %s already exists.", t.UUID)
	case "deploy_templates_name":
		return node.Errorf(node.Conflict, "A deploy template with name %s already exists.", t.Name)
	}
	if err != nil {
		return fmt.Errorf("save deploy template %s: %w", t.UUID, err)
	}
	return nil
}
