package host

import (
	"reflect"
	"testing"
)

const hybrid = `23 1 0:21 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct ro,relatime - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
`

func TestParseCgroupMounts(t *testing.T) {
	want := []cgroupMount{
		{path: "/sys/fs/cgroup/memory", writable: true, options: []string{"rw", "memory"}},
		{path: "/sys/fs/cgroup/cpu,cpuacct", options: []string{"rw", "cpu", "cpuacct"}},
		{path: "/sys/fs/cgroup/unified", unified: true, writable: true, options: []string{"rw", "nsdelegate"}},
	}
	if got := parseCgroupMounts(hybrid); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := parseCgroupMounts("broken - \n\nx y z - cgroup"); got != nil {
		t.Errorf("of broken lines: %+v", got)
	}
}

func TestMissingHierarchies(t *testing.T) {
	const controllers = `#subsys_name	hierarchy	num_cgroups	enabled
memory	4	140	1
net_cls	0	12	1
perf_event	0	12	1
net_prio	19	12	1
rdma	0	1	0
`
	mounts := parseCgroupMounts(hybrid)
	if got, want := missingHierarchies(controllers, mounts), []string{"perf_event", "net_cls,net_prio"}; !reflect.DeepEqual(got, want) {
		t.Errorf("hybrid: %v, want %v", got, want)
	}
	unified := parseCgroupMounts("41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n")
	if got := missingHierarchies(controllers, unified); got != nil {
		t.Errorf("v2: %v", got)
	}
}
