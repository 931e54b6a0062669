# Everything here needs root, Linux, and what .ci/run installs.

PILOT_SOAK_KILLS ?= 10000

PILOT_IMAGE_ROUNDS ?= 5000

PILOT_ALARM_RUNS ?= 50

.PHONY: test faults soak image-soak alarms bench

# The whole test suite, as in continuous integration.
test:
	.ci/run

# Makes pilot fail in every way at every point, beside programs of each kind. In
# continuous integration each way is tried beside one kind, and one way in containers.
faults:
	PILOT_REQUIRE_PRIVILEGED=1 go test ./internal/faulttest ./internal/membertest -run Fault -count=1 -timeout 1h -v

# Kills agents at random moments while they pilot self-checking programs and
# real servers, and prints every difference that production shows.
soak:
	PILOT_REQUIRE_PRIVILEGED=1 PILOT_SOAK_KILLS=$(PILOT_SOAK_KILLS) \
	go test ./internal/faulttest -run '^TestPrivSoak$$' -count=1 -timeout 6h -parallel 3 -v

# Images directories at random moments while a process writes to them in all
# ways, on every file system, and compares every byte and attribute.
image-soak:
	PILOT_REQUIRE_PRIVILEGED=1 PILOT_IMAGE_ROUNDS=$(PILOT_IMAGE_ROUNDS) \
	go test ./internal/image -run '^TestRandomWriter$$' -count=1 -timeout 6h -v

# Pilots actions that do nothing on every system under load: none may alarm.
alarms:
	PILOT_REQUIRE_PRIVILEGED=1 PILOT_ALARM_RUNS=$(PILOT_ALARM_RUNS) \
	go test ./internal/e2e -run '^TestPrivFalseAlarm$$' -count=1 -timeout 6h -v

# Measures pilot beside the kernel's own calls, CRIU (where it is installed) and
# real servers without it, and writes the table.
bench:
	go run ./bench -o docs/performance.md
