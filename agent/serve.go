package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/billet-metal/billet/agent/steps"
	"github.com/billet-metal/billet/wire"
)

// serve opens the command API and heartbeats until ctx ends.
func (a *Agent) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := net.Listen("tcp", net.JoinHostPort(a.Config.ListenHost, strconv.Itoa(a.Config.ListenPort)))
	if err != nil {
		return fmt.Errorf("opening the command API: %w", err)
	}
	defer listener.Close()
	beat, tlsConfig, err := a.identity(listener)
	if err != nil {
		return err
	}
	a.heartbeats = newHeartbeater(time.Duration(a.host.Service.HeartbeatTimeout)*time.Second, a.Log, func(ctx context.Context) error {
		return a.client.heartbeat(ctx, a.host.Node.UUID, beat)
	})
	a.progress = newProgress(a.Log, func(ctx context.Context, p wire.Progress) error {
		p.AgentToken = a.host.Service.AgentToken
		return a.client.progress(ctx, a.host.Node.UUID, p)
	})
	cmds := &commands{ctx: ctx, table: a.extensions(), done: a.heartbeats.Force, log: a.Log}
	web := &http.Server{
		Handler:           &server{commands: cmds, token: a.host.Service.AgentToken, started: time.Now(), baseURL: beat.CallbackURL},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Minute, // a config drive of 64 MiB over a slow line
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	return a.runAll(ctx, cancel, cmds, web, listener)
}

// runAll runs the server, the heartbeats and the progress messages, and waits for all of them.
func (a *Agent) runAll(ctx context.Context, cancel func(), cmds *commands, web *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	cmds.wg.Go(func() { failed <- web.Serve(l) })
	cmds.wg.Go(func() { a.heartbeats.Run(ctx) })
	cmds.wg.Go(func() { a.progress.Run(ctx) })
	if a.Logs != nil {
		cmds.wg.Go(func() { a.Logs.sendLines(ctx, a.sendLines) })
	}
	a.Log.Info("serving", "address", l.Addr().String())
	var err error
	select {
	case <-ctx.Done():
	case <-a.letIn:
		err = a.handOver(ctx, web)
	case err = <-failed:
		err = fmt.Errorf("the command API ended: %w", err)
	}
	cancel()
	web.Close()
	cmds.wg.Wait()
	return err
}

func (a *Agent) sendLines(ctx context.Context, lines []wire.LogLine) error {
	return a.client.logLines(ctx, a.host.Node.UUID, wire.LogLines{AgentToken: a.host.Service.AgentToken, Lines: lines})
}

// handOver lets people in and closes the API a little later, until ctx ends.
func (a *Agent) handOver(ctx context.Context, web *http.Server) error {
	r := a.Machine.(Rescuer) // finalizeRescue has looked
	closing, stop := context.WithCancel(ctx)
	var closer sync.WaitGroup
	defer closer.Wait()
	defer stop()
	closer.Go(func() {
		select {
		case <-a.open:
			if steps.Pause(closing, rescueDelay) == nil {
				web.Close()
			}
		case <-closing.Done():
		}
	})
	return a.rescue(ctx, r, a.rescueHash())
}

// identity settles under which address the service reaches this agent, and its certificate: for a
// service that takes certificates (1.68) the API is HTTPS.
func (a *Agent) identity(l net.Listener) (wire.Heartbeat, *tls.Config, error) {
	ip, err := a.OwnAddress()
	if err != nil {
		return wire.Heartbeat{}, nil, err
	}
	port := a.Config.AdvertisePort
	if port == 0 {
		port = l.Addr().(*net.TCPAddr).Port
	}
	where := net.JoinHostPort(ip.String(), strconv.Itoa(port)) // brackets around IPv6
	beat := wire.Heartbeat{CallbackURL: "http://" + where, AgentToken: a.host.Service.AgentToken, AgentVersion: Version}
	if !a.client.speaks(wire.HeartbeatVersion) {
		return beat, nil, nil
	}
	cert, err := a.certificate(ip)
	if err != nil {
		return wire.Heartbeat{}, nil, err
	}
	tlsConfig, err := cert.tlsConfig()
	beat.CallbackURL, beat.AgentVerifyCA = "https://"+where, cert.PEM
	return beat, tlsConfig, err
}

// OwnAddress is the address this machine has on the way to the service.
func (a *Agent) OwnAddress() (net.IP, error) {
	if host := a.Config.AdvertiseHost; host != "" {
		ip := net.ParseIP(host)
		if ip == nil {
			return nil, fmt.Errorf("kernel parameter ipa-advertise-host=%s is not an IP address", host)
		}
		return ip, nil
	}
	u, err := url.Parse(a.client.order()[0])
	if err != nil {
		return nil, fmt.Errorf("reading the service's URL: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := net.Dial("udp", net.JoinHostPort(u.Hostname(), port)) // sends nothing: it asks the routes
	if err != nil {
		return nil, fmt.Errorf("finding the address that reaches the service: %w", err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP, nil
}
