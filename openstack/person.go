package openstack

import "context"

// Token is a token of the session's login, for a command that asks another service in a person's name.
func (s *Session) Token(ctx context.Context) (string, error) {
	provider, _, err := s.login(ctx)
	if err != nil {
		return "", err
	}
	return provider.Token(), nil
}
