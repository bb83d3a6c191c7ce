package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/searchapi"
)

// HostConfig is the host's configuration with the built-in publishers, which run as
// executable.
func HostConfig(c configs.Config, executable, version string) (host.Config, error) {
	cfg := c.Publishers.Host
	var err error
	cfg.Version = semantic(version)
	cfg.Builtins, err = builtinPlugins(executable, version)
	return cfg, err
}

// checkPlugins says what is wrong with plugins and with the destinations of
// subscriptions, without running any plugin.
func checkPlugins(c configs.Config) error {
	cfg, err := HostConfig(c, "fresnel", "")
	if err != nil {
		return err
	}
	h, err := host.New(cfg, nil, nil)
	if err != nil {
		return fmt.Errorf("publishers: %w", err)
	}
	var errs []error
	for _, err := range h.Check() {
		errs = append(errs, fmt.Errorf("publishers.%w", err))
	}
	subs, err := chosen(h, c.Publishers.Subscriptions)
	errs = append(errs, err)
	for i, s := range subs {
		if host.Undecided(s.Publisher) {
			errs = append(errs, fmt.Errorf("publishers.subscriptions[%d].destination: no publisher serves %s that can be read", i, s.Publisher))
		}
	}
	return errors.Join(errs...)
}

// chosen are the subscriptions with the publishers that their destinations' schemes
// choose, where none is named. The error says all that is wrong with destinations.
func chosen(h *host.Host, subs []publishers.Subscription) ([]publishers.Subscription, error) {
	subs = slices.Clone(subs)
	var errs []error
	for i := range subs {
		s, key := &subs[i], fmt.Sprintf("publishers.subscriptions[%d]", i)
		name, err := h.Select(s.Publisher, s.Destination)
		if err != nil {
			member := ".publisher"
			if s.Publisher == "" {
				member = ".destination"
			}
			errs = append(errs, fmt.Errorf("%s%s: %w", key, member, err))
			continue
		}
		s.Publisher = name
		for _, err := range h.CheckDestination(name, delivery.Destination{URI: s.Destination, Options: s.Options}) {
			errs = append(errs, fmt.Errorf("%s.%w", key, err))
		}
	}
	return subs, errors.Join(errs...)
}

// plugins lets the engine find plugins in the host.
type plugins struct{ host *host.Host }

// Plugin implements publishers.Plugins.
func (p plugins) Plugin(name string) publishers.Plugin {
	if host.Undecided(name) {
		for _, broken := range p.host.Processes() {
			if broken.Problem != "" {
				p.host.Plugin(broken.Name) // it is looked at until it is mended
			}
		}
		return undecided(p)
	}
	if found := p.host.Plugin(name); found != nil {
		return found
	}
	return nil
}

// undecided stands for the publisher of a scheme while it is not known which one that
// is, because a plugin's manifest cannot be read: what is for it is kept.
type undecided struct{ host *host.Host }

// Publish implements publishers.Plugin.
func (u undecided) Publish(
	ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome),
) error {
	name, err := u.host.Select("", to.URI)
	if err != nil || host.Undecided(name) {
		return fmt.Errorf("%w: it is not known yet which plugin serves %s", delivery.ErrUnavailable, name)
	}
	return u.host.Plugin(name).Publish(ctx, to, ds, ack)
}

// watchPlugins has readiness name each plugin that is needed and not ready, and each
// that is configured and cannot be used.
func (s *system) watchPlugins() {
	for _, p := range s.host.Processes() {
		if p.State != host.Discovered || p.Problem != "" {
			s.degrades("plugin "+p.Name, s.running(p.Name))
		}
	}
}

// running is the readiness of a plugin.
func (s *system) running(name string) func(context.Context) error {
	return func(context.Context) error {
		for _, p := range s.host.Processes() {
			if p.Name == name && p.State != host.Ready {
				return fmt.Errorf("is %s: %s", p.State, p.Problem)
			}
		}
		return nil
	}
}

// operatedPlugins shows the host's plugins to operators.
type operatedPlugins struct{ host *host.Host }

// List implements searchapi.Plugins.
func (o operatedPlugins) List(context.Context) ([]searchapi.Plugin, error) {
	return Plugins(o.host), nil
}

// Plugins are those of a host, for operators.
func Plugins(h *host.Host) []searchapi.Plugin {
	var out []searchapi.Plugin
	for _, p := range h.Processes() {
		out = append(out, searchapi.Plugin{
			Name: p.Name, Origin: p.Origin, Path: p.Path, Version: p.Version, Schemes: p.Schemes, State: string(p.State),
			Since: p.Since, Reason: p.Problem, PID: p.PID, Restarts: p.Restarts, Memory: p.RSS, CPU: p.CPU.Seconds(),
		})
	}
	return out
}

// Manifest implements searchapi.Plugins.
func (o operatedPlugins) Manifest(_ context.Context, name string) (any, error) {
	m, err := o.host.Manifest(name)
	return m, pluginError(err)
}

// Resume implements searchapi.Plugins.
func (o operatedPlugins) Resume(ctx context.Context, name string) error {
	return pluginError(o.host.Resume(ctx, name))
}

// Reload implements searchapi.Plugins.
func (o operatedPlugins) Reload(ctx context.Context, name string) error {
	return pluginError(o.host.Reload(ctx, name))
}

func pluginError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, host.ErrUnknown):
		return fmt.Errorf("%w: %w", searchapi.ErrNotFound, err)
	default: // the plugin is as it was: what it lacks is for the operator to mend
		return fmt.Errorf("%w: %s", searchapi.ErrConflict, strings.TrimSpace(err.Error()))
	}
}
