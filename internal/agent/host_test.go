//go:build linux

package agent

import "testing"

func TestHidePID(t *testing.T) {
	for options, want := range map[string]string{
		"rw": "", "rw,hidepid=0": "", "rw,hidepid=off": "", "rw,gid=7,hidepid=2": "hidepid=2", "hidepid=ptraceable": "hidepid=ptraceable",
	} {
		if got := hidePID(options); got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
}

func TestConfining(t *testing.T) {
	for _, c := range []struct {
		label   string
		selinux bool
		want    bool
	}{
		{"", false, false},
		{"unconfined", false, false},
		{"docker-default (enforce)", false, true},
		{"/usr/sbin/mysqld (complain)", false, false},
		{"system_u:system_r:mysqld_t:s0", true, true},
		{"system_u:system_r:mysqld_t:s0", false, false},
		{"unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023", true, false},
		{"system_u:system_r:unconfined_service_t:s0", true, false},
	} {
		if got := confining(c.label, c.selinux); (got != "") != c.want || got != "" && got != c.label {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
