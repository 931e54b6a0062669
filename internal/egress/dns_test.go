package egress

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// query asks for name, with an EDNS record behind the question, as glibc does.
func query(name string, kind uint16) []byte {
	b := []byte{0xab, 0xcd, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0, byte(kind>>8), byte(kind), 0, classInternet)
	return append(b, 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0)
}

func TestQuestion(t *testing.T) {
	q, err := parseQuestion(query("Db.Example", typeA))
	if err != nil || q.name != "db.example" || q.kind != typeA || q.opcode != 0 {
		t.Fatalf("got %+v, %v", q, err)
	}
	a := netip.MustParseAddr("10.0.0.7")
	got := q.answer(rcodeOK, []netip.Addr{netip.MustParseAddr("::1"), a})
	want := append([]byte{0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, q.raw[12:]...)
	want = append(want, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 7)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	refused := q.answer(rcodeRefused, nil)
	if refused[3]&15 != rcodeRefused || !bytes.Equal(refused[12:], q.raw[12:]) {
		t.Errorf("got %x", refused)
	}
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = a
	}
	if got := q.answer(rcodeOK, many); len(got) > 512 || got[7] < 20 {
		t.Errorf("%d bytes with %d answers", len(got), got[7])
	}
}

func TestNoQuestion(t *testing.T) {
	answer := query("a", typeA)
	answer[2] |= 0x80
	two := query("a", typeA)
	two[5] = 2
	pointer := query("a", typeA)
	pointer[12] = 0xc0
	for name, b := range map[string][]byte{"empty": nil, "answer": answer, "two": two, "pointer": pointer, "cut": query("abc", typeA)[:15]} {
		if q, err := parseQuestion(b); err == nil {
			t.Errorf("%s: %+v", name, q)
		}
	}
	if q, _ := parseQuestion(two); len(q.answer(rcodeFormat, nil)) != 12 {
		t.Error("what has two questions gets no answer")
	}
}

func TestParseFiles(t *testing.T) {
	got := parseServers("# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\noptions edns0\nnameserver\n")
	if want := []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("fe80::1")}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	hosts := parseHosts("127.0.0.1 localhost\n10.0.0.7 Node1.example node1 # one\nx y\n::1 localhost\n")
	want := map[string][]netip.Addr{
		"localhost": {netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
		"node1":     {netip.MustParseAddr("10.0.0.7")}, "node1.example": {netip.MustParseAddr("10.0.0.7")},
	}
	if !reflect.DeepEqual(hosts, want) {
		t.Errorf("got %v", hosts)
	}
}

func TestMentioned(t *testing.T) {
	got := Mentioned([]string{"/usr/bin/etcd", "--data-dir=/var/lib/etcd.d", "--initial-cluster=a=http://Node1.example:2380,b=https://node2:2380",
		"--listen=10.0.0.7:80", "user:secret@node3:1", "node2:99", "a:b", "[::1]:80", "12:30"})
	if want := []string{"node1.example", "node2", "node3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("a", i%50+1) + ":1"
	}
	if got := Mentioned(many); len(got) != maxMentioned {
		t.Errorf("%d names", len(got))
	}
}

func FuzzQuestion(f *testing.F) {
	f.Add(query("db.example", typeAAAA))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c"))
	addrs := []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("2001:db8::1")}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		q, err := parseQuestion(b)
		if err != nil {
			return
		}
		for _, code := range []byte{rcodeOK, rcodeRefused} {
			a := q.answer(code, addrs)
			if len(a) < len(q.raw) || a[2]&0x80 == 0 || a[3]&15 != code || !bytes.Equal(a[:2], b[:2]) {
				t.Fatalf("%x is answered by %x", b, a)
			}
		}
		if len(q.name) > 253 || !bytes.Equal(b, before) {
			t.Fatalf("got %+v", q)
		}
	})
}
