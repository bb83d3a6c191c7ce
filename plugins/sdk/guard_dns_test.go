package sdk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// nameServer answers every question with the next of its answers, the last one for
// ever; an answer without addresses is NXDOMAIN.
type nameServer struct {
	mu      sync.Mutex
	answers [][]netip.Addr
	asked   int
}

// useNameServer has this process resolve names with it. Tests that use it do not run
// in parallel with others.
func useNameServer(t *testing.T, answers ...[]netip.Addr) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{answers: answers}
	var serving sync.WaitGroup
	serving.Go(func() { s.serve(conn) })
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return s
}

func (s *nameServer) serve(conn net.PacketConn) {
	query := make([]byte, 1<<10)
	for {
		n, from, err := conn.ReadFrom(query)
		if err != nil {
			return
		}
		if _, err := conn.WriteTo(s.answer(query[:n]), from); err != nil {
			return
		}
	}
}

// answer takes a message with one question: header, name, type and class. The answers
// change with each question for IPv4; the one for IPv6 belongs to it.
func (s *nameServer) answer(query []byte) []byte {
	const header, typeA, typeAAAA, nameError = 12, 1, 28, 3
	end := header
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5
	kind := binary.BigEndian.Uint16(query[end-4:])
	s.mu.Lock()
	addrs := s.answers[min(s.asked/2, len(s.answers)-1)]
	s.asked++
	s.mu.Unlock()
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[header:end]...)
	if len(addrs) == 0 {
		reply[3] |= nameError
	}
	for _, a := range addrs {
		if a.Is4() != (kind == typeA) || (kind != typeA && kind != typeAAAA) {
			continue
		}
		reply[7]++
		raw := a.AsSlice()
		reply = append(reply, 0xc0, header, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
		reply = append(reply, raw...)
	}
	return reply
}

func addrs(list ...string) (as []netip.Addr) {
	for _, a := range list {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

// listening is a server on a local address that says whether anybody came.
func listening(t *testing.T, address string) (port string, touched func() bool) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	came := false
	srv := &httptest.Server{Listener: l, Config: &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ConnState: func(net.Conn, http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			came = true
		},
	}}
	srv.Start()
	t.Cleanup(srv.Close)
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, func() bool { mu.Lock(); defer mu.Unlock(); return came }
}

// TestNamesThatLeadInsideAreRefusedAtDialTime is about names that look innocent.
func TestNamesThatLeadInsideAreRefusedAtDialTime(t *testing.T) {
	for name, answer := range map[string][]netip.Addr{
		"an inner address":           addrs("127.0.0.1"),
		"metadata of a cloud":        addrs("169.254.169.254"),
		"IPv6":                       addrs("::1"),
		"IPv4 in IPv6":               addrs("::ffff:127.0.0.1"),
		"NAT64":                      addrs("64:ff9b::7f00:1"),
		"6to4":                       addrs("2002:7f00:1::"),
		"nothing":                    addrs("0.0.0.0"),
		"several, all of them inner": addrs("10.0.0.1", "127.0.0.1", "::1"),
	} {
		t.Run(name, func(t *testing.T) {
			useNameServer(t, answer)
			port, touched := listening(t, "127.0.0.1:0")
			var f *sdk.Failure
			err := get(t, &sdk.Outbound{}, "http://innocent.example:"+port+"/")
			if !errors.As(err, &f) || f.Code != "address_refused" || !strings.Contains(err.Error(), "publishers.outbound.allow") {
				t.Errorf("outcome %v, want it refused with the key named", err)
			}
			if touched() {
				t.Error("a connection was made")
			}
		})
	}
}

// TestNameThatMovesInsideIsRefused is DNS rebinding: the name leads outside when the
// destination is checked, and inside when it is connected to.
func TestNameThatMovesInsideIsRefused(t *testing.T) {
	s := useNameServer(t, addrs("127.0.0.2"), addrs("127.0.0.1"))
	port, outside := listening(t, "127.0.0.2:0")
	l, inside := listening(t, "127.0.0.1:"+port)
	o := &sdk.Outbound{Allow: []string{"127.0.0.2/32"}} // plays the public one
	found, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "moves.example")
	if err != nil || len(found) != 1 || found[0].String() != "127.0.0.2" {
		t.Fatalf("at first the name leads to %v, %v", found, err)
	}
	var f *sdk.Failure
	if err := get(t, o, "http://moves.example:"+l+"/"); !errors.As(err, &f) || f.Code != "address_refused" {
		t.Errorf("outcome %v, want it refused", err)
	}
	if inside() || outside() {
		t.Error("a connection was made")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked < 3 {
		t.Errorf("the name was looked up %d times, want again for the connection", s.asked)
	}
}

// TestNameThatIsNotFoundIsRetried is NXDOMAIN, and a name that comes back.
func TestNameThatIsNotFoundIsRetried(t *testing.T) {
	useNameServer(t, nil, addrs("127.0.0.1"))
	port, _ := listening(t, "127.0.0.1:0")
	o := &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}
	var f *sdk.Failure
	if err := get(t, o, "http://flaps.example:"+port+"/"); !errors.As(err, &f) || f.Code != "dns" || f.Final || f.Destination {
		t.Errorf("NXDOMAIN: %v, want a retry with code dns", err)
	}
	if err := get(t, o, "http://flaps.example:"+port+"/"); err != nil {
		t.Errorf("found again: %v, want delivered", err)
	}
}

func TestUserinfoHidesNoHost(t *testing.T) {
	port, touched := listening(t, "127.0.0.1:0")
	for _, u := range []string{
		"http://public.example@127.0.0.1:" + port + "/", "http://public.example:80@localhost:" + port + "/",
		"http://127.0.0.1:" + port + "#@public.example/", "http://127.0.0.1:" + port + "?@public.example/",
	} {
		var f *sdk.Failure
		if err := get(t, &sdk.Outbound{}, u); !errors.As(err, &f) || f.Code != "address_refused" {
			t.Errorf("%s: %v, want it refused", u, err)
		}
	}
	if touched() {
		t.Error("a connection was made")
	}
}

// TestRedirectLeadsNowhere holds for any place and status.
func TestRedirectLeadsNowhere(t *testing.T) {
	port, touched := listening(t, "127.0.0.1:0")
	for _, location := range []string{
		"http://127.0.0.1:" + port + "/", "http://169.254.169.254/latest/meta-data/", "//127.0.0.1:" + port, "file:///etc/passwd",
	} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(code)
			}))
			var f *sdk.Failure
			err := get(t, &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}, srv.URL)
			if !errors.As(err, &f) || !f.Final || !strings.Contains(err.Error(), "redirects are not followed") {
				t.Errorf("%d to %s: %v, want it rejected", code, location, err)
			}
			srv.Close()
		}
	}
	if touched() {
		t.Error("a redirect was followed")
	}
}

// TestProxyIsAskedForNoInnerAddress: what a proxy could resolve to an inner address by
// itself does not reach it, in any spelling; names are its own to judge.
func TestProxyIsAskedForNoInnerAddress(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.RequestURI) }))
	defer proxy.Close()
	o := &sdk.Outbound{Proxy: proxy.URL}
	for _, host := range []string{
		"127.0.0.1", "localhost", "localhost.", "LOCALHOST", "a.localhost", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "2130706433", "0177.0.0.1", "0x7f.1", "0x7F000001", "127.1", "127.0.1", "0", "017700000001",
		"169.254.169.254", "169.254.43518", "0xa9fea9fe", "168.63.129.16", "100.100.100.200", "[fd00:ec2::254]", "metadata.google.internal",
		"metadata.google.internal.", "127.0.0.1.", "public.example@127.0.0.1",
	} {
		for _, scheme := range []string{"http", "https"} {
			var f *sdk.Failure
			err := get(t, o, scheme+"://"+host+"/")
			if !errors.As(err, &f) || f.Code != "address_refused" || !strings.Contains(err.Error(), "publishers.outbound.allow") {
				t.Errorf("%s://%s: %v, want it refused with the key named", scheme, host, err)
			}
		}
	}
	if err := get(t, o, "http://１２７.0.0.1/"); err == nil {
		t.Error("a proxy was asked for an address in other digits")
	}
	if len(asked) > 0 {
		t.Fatalf("the proxy was asked for %v", asked)
	}
	public := []string{"http://8.8.8.8/", "http://public.example/", "http://256.1.1.1/", "http://1.2.3.4.5/", "http://0b1.example/"}
	for _, u := range public {
		if err := get(t, o, u); err != nil {
			t.Errorf("%s: %v, want it left to the proxy", u, err)
		}
	}
	if len(asked) != len(public) {
		t.Errorf("the proxy was asked for %v", asked)
	}
	if err := get(t, &sdk.Outbound{Proxy: proxy.URL, Allow: []string{"10.0.0.0/8"}}, "http://10.1.2.3/"); err != nil {
		t.Errorf("an inner address that is allowed: %v", err)
	}
}
