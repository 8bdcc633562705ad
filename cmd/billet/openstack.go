package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/node"
	"github.com/billet-metal/billet/openstack"
)

func openstackCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "openstack", Short: "Put Billet into an OpenStack cloud"}
	cmd.AddCommand(registerCommand())
	return cmd
}

// registerCommand tells Keystone of Billet, as an administrator whose login the usual variables (OS_*) hold.
func registerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "register", Args: cobra.NoArgs, Short: "Make Billet's account, roles and endpoints in Keystone",
		Long: "Make Billet's account, its roles and its endpoints in Keystone, where they are not there yet, and say what was done. " +
			"The login of an administrator is taken from OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME, OS_USER_DOMAIN_NAME, " +
			"OS_PROJECT_DOMAIN_NAME (or the domains' IDs), OS_SYSTEM_SCOPE, OS_REGION_NAME and OS_CACERT, as for the openstack command. " +
			"The account's password is taken from BILLET_OPENSTACK_PASSWORD.",
	}
	r := openstack.Registration{Domain: "Default", Endpoints: map[string]string{}}
	flags := cmd.Flags()
	flags.StringVar(&r.User, "user", "ironic", "name of Billet's account")
	flags.StringVar(&r.Project, "project", "service", "name of the project it works in")
	flags.StringVar(&r.Name, "service", "ironic", "name of the service in the catalog; its type is baremetal")
	flags.StringSliceVar(&r.Roles, "roles", []string{"admin", "service"}, "its roles in that project")
	public := flags.String("public-url", "", "URL of the API for people, such as https://metal.example:6385, without /v1")
	internal := flags.String("internal-url", "", "the same for services; default: the public one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for name, to := range map[string]*string{"--public-url": public, "--internal-url": internal} {
			if err := webURL(to)(*to); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if *public == "" {
			return fmt.Errorf("--public-url: it is needed: clients look for Billet there")
		}
		setIfEmpty(internal, *public)
		r.Endpoints["public"], r.Endpoints["internal"] = *public, *internal
		r.Password, r.Region = os.Getenv("BILLET_OPENSTACK_PASSWORD"), os.Getenv("OS_REGION_NAME")
		setIfEmpty(&r.Region, "RegionOne")
		session, err := userSession()
		if err != nil {
			return err
		}
		done, err := openstack.Register(cmd.Context(), session, r)
		for _, line := range done.Found {
			cmd.Println("there already:", line)
		}
		for _, line := range done.Done {
			cmd.Println(line)
		}
		if node.KindOf(err) == node.Forbidden {
			return fmt.Errorf("%w (it takes an administrator of the cloud: the role admin, and OS_SYSTEM_SCOPE=all where Keystone wants that)", err)
		}
		if err == nil && len(done.Done) == 0 {
			cmd.Println("everything was there")
		}
		return err
	}
	return cmd
}

// userSession is the login that the environment holds.
func userSession() (*openstack.Session, error) {
	cfg := openstack.Config{
		AuthURL: os.Getenv("OS_AUTH_URL"), Username: os.Getenv("OS_USERNAME"), Password: os.Getenv("OS_PASSWORD"),
		UserDomain: os.Getenv("OS_USER_DOMAIN_NAME"), Project: os.Getenv("OS_PROJECT_NAME"), ProjectDomain: os.Getenv("OS_PROJECT_DOMAIN_NAME"),
		UserDomainID: os.Getenv("OS_USER_DOMAIN_ID"), ProjectDomainID: os.Getenv("OS_PROJECT_DOMAIN_ID"),
		System:                      os.Getenv("OS_SYSTEM_SCOPE") == "all",
		ApplicationCredentialID:     os.Getenv("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialSecret: os.Getenv("OS_APPLICATION_CREDENTIAL_SECRET"),
		CAFile:                      os.Getenv("OS_CACERT"), Interface: "public",
	}
	needed := []string{"OS_AUTH_URL"}
	if cfg.ApplicationCredentialID == "" {
		needed = append(needed, "OS_USERNAME", "OS_PASSWORD")
		if !cfg.System {
			needed = append(needed, "OS_PROJECT_NAME")
		}
	}
	missing := slices.DeleteFunc(needed, func(name string) bool { return os.Getenv(name) != "" })
	if len(missing) > 0 {
		return nil, fmt.Errorf("the environment lacks %s, by which the openstack command logs in, too", strings.Join(missing, ", "))
	}
	return openstack.Open(cfg)
}
