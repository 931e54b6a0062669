package plan

import "testing"

func TestKernelSupported(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44-x": true, "5.14.0": true, "5.14": true, "5.13.19-generic": false,
		"4.18.0-553.el8": false, "6": false, "": false, "7.0-rc1": true,
	} {
		if got := KernelSupported(release); got != want {
			t.Errorf("KernelSupported(%q) = %v", release, got)
		}
	}
}
