package config

import (
	"testing"
	"time"
)

func TestEnviron(t *testing.T) {
	env := map[string]string{"PILOT_MAX_PAUSE": "20ms", "PILOT_SETTLE": "0s", "PILOT_MAX_MEMORY": "1G", "PILOT_MAX_DISK": "64M", "PILOT_MAX_IO_PRESSURE": "40%"}
	c := Default()
	if err := c.Environ(func(k string) string { return env[k] }); err != nil {
		t.Fatal(err)
	}
	if c.MaxPause != 20*time.Millisecond || c.Timeout != DefaultTimeout || c.Settle != 0 {
		t.Errorf("got %+v", c)
	}
	if c.MaxMemory != 1<<30 || c.MaxDisk != 64<<20 || c.MemoryPressure != 0 || c.IOPressure != 40 {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironErrors(t *testing.T) {
	env := map[string]string{"PILOT_MAX_PAUSE": "fast", "PILOT_TIMEOUT": "0s"}
	err := Default().Environ(func(k string) string { return env[k] })
	want := "PILOT_MAX_PAUSE: \"fast\" is not a duration such as 250ms, 5s or 2m\nPILOT_TIMEOUT: 0s is less than 100ms"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestSet(t *testing.T) {
	c := Default()
	for name, value := range map[string]string{"max-pause": "1s", "timeout": "3m", "settle": "4s"} {
		if err := c.Set(name, value); err != nil {
			t.Error(err)
		}
	}
	if c.MaxPause != time.Second || c.Timeout != 3*time.Minute || c.Settle != 4*time.Second {
		t.Errorf("got %+v", c)
	}
	for _, bad := range [][2]string{{"max-pause", "x"}, {"pause", "1s"}} {
		if err := c.Set(bad[0], bad[1]); err == nil {
			t.Errorf("Set(%q, %q): no error", bad[0], bad[1])
		}
	}
}
