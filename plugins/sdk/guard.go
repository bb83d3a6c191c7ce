package sdk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// RefusedError says that the address guard let no connection through.
type RefusedError struct {
	Addr netip.Addr
	Why  string
}

// Error names the key by which an operator can allow the address.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is %s address; set publishers.outbound.allow to let it through", e.Addr, e.Why)
}

// Guard decides which addresses may be connected to: public ones, and those in the
// allowed networks. It is asked at dial time, after name resolution, so that a name
// that resolves differently the next time is no way around it.
type Guard struct {
	allow   []netip.Prefix
	special []network
}

// NewGuard returns a guard that lets public addresses and the given networks through.
func NewGuard(allow []string) (*Guard, error) {
	g := &Guard{special: special()}
	for _, text := range allow {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.1.0.0/16", text)
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%q is wider than the IPv4 addresses in IPv6", text)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		g.allow = append(g.allow, p.Masked())
	}
	return g, nil
}

// Check returns a *RefusedError if the address may not be connected to.
func (g *Guard) Check(addr netip.Addr) error {
	plain := addr.Unmap().WithZone("")
	for _, p := range g.allow {
		if p.Contains(plain) {
			return nil
		}
	}
	for _, n := range g.special {
		if n.prefix.Contains(plain) {
			return &RefusedError{Addr: addr, Why: n.what}
		}
	}
	return nil
}

// control is for net.Dialer: it runs after the name is resolved and before the
// connect system call.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	return g.Check(ap.Addr())
}

// checkHost asks about a host that somebody else will resolve: whatever a resolver
// may take for an address, and the names that always mean one.
func (g *Guard) checkHost(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case host == "localhost" || strings.HasSuffix(host, ".localhost"):
		return g.Check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	case host == "metadata.google.internal":
		return g.Check(netip.AddrFrom4([4]byte{169, 254, 169, 254}))
	}
	if strings.IndexFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return errors.New("a proxy is asked for names in ASCII only: write an international one as xn--")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.Check(addr)
	}
	if addr, ok := oldAddress(host); ok {
		return g.Check(addr)
	}
	return nil
}

// oldAddress reads IPv4 addresses as inet_aton does: up to four numbers, decimal,
// octal or hexadecimal, the last of which fills what is left.
func oldAddress(host string) (netip.Addr, bool) {
	const most, whole = 4, 32
	parts := strings.Split(host, ".")
	if len(parts) > most || strings.ContainsAny(host, "_ob") && !strings.Contains(host, "0x") {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, p := range parts {
		bits := 8
		if i == len(parts)-1 {
			bits = whole - 8*i
		}
		n, err := strconv.ParseUint(p, 0, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		sum = sum<<bits | n
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(sum))
	return netip.AddrFrom4(b), true
}

type network struct {
	prefix netip.Prefix
	what   string
}

// special lists the networks that are not the public internet (the registries of
// RFC 6890), and those that embed an IPv4 address, which would be a way around the
// rest of the list. The first match names the kind.
func special() []network {
	kinds := []struct{ what, prefixes string }{
		{"an unspecified", "0.0.0.0/8 ::/128"},
		{"a loopback", "127.0.0.0/8 ::1/128"},
		{"a private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"},
		{"a carrier's private", "100.64.0.0/10"},
		{"a link-local", "169.254.0.0/16 fe80::/10"},
		{"a multicast", "224.0.0.0/4 ff00::/8"},
		{"a cloud's metadata", "168.63.129.16/32"}, // the others are link-local or private
		{"a NAT64", "64:ff9b::/96 64:ff9b:1::/48 ::ffff:0:0:0/96"},
		{"a 6to4 or Teredo", "2002::/16 2001::/32 192.88.99.0/24"},
		{"an IPv4-compatible", "::/96"},
		{"a benchmarking", "198.18.0.0/15 2001:2::/48"},
		{"a documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20"},
		{"a reserved", "192.0.0.0/24 240.0.0.0/4 100::/64 2001::/23 5f00::/16"},
	}
	var all []network
	for _, k := range kinds {
		for text := range strings.FieldsSeq(k.prefixes) {
			all = append(all, network{netip.MustParsePrefix(text), k.what})
		}
	}
	return all
}
