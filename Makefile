# Everything here needs root, Linux, and what .ci/run installs.

PILOT_SOAK_KILLS ?= 10000

.PHONY: test soak

# The whole test suite, as in continuous integration.
test:
	.ci/run

# Kills agents at random moments while they pilot self-checking programs and
# real servers, and prints every difference that production shows.
soak:
	PILOT_REQUIRE_PRIVILEGED=1 PILOT_SOAK_KILLS=$(PILOT_SOAK_KILLS) \
	go test ./internal/faulttest -run '^TestPrivSoak$$' -count=1 -timeout 6h -parallel 3 -v
