package guest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagechain.dev/sandbox/internal/progress"
)

// Files of a machine's folder.
const (
	rootDisk    = "root.qcow2"
	consoleFile = "console.log"
	resultFile  = "result"
	logsFile    = "logs.tar.gz"
	shellSocket = "shell"
	// qemu's own: `stop` and `cont` let a guest wait that nobody has the processors for.
	monitorSocket = "monitor"
)

const emulator = "qemu-system-x86_64"

// accelerator is how instructions are run.
type accelerator struct {
	name      string
	arguments []string
	// slower is how many times longer to wait for things than on the machine itself.
	slower int
}

var (
	kvm = accelerator{"KVM", []string{"-accel", "kvm", "-cpu", "host"}, 2}
	// Programs take the widest instructions that they find, and those are emulated the most slowly. qemu 7.2 was seen
	// to lose the flags of cmpxchg16b, whereupon the kernel ended with a double fault.
	tcg = accelerator{"TCG, which emulates it", []string{"-accel", "tcg,thread=multi", "-cpu", "max,cx16=off,avx=off,avx2=off,f16c=off,fma=off,vaes=off,vpclmulqdq=off,la57=off,svm=off"}, 15}
)

// probeWithin is how long a kernel may take to say something. Measured: 2 s with TCG.
const probeWithin = 10 * time.Second

// findAccelerator takes KVM where a kernel boots with it. That the device can be opened says little: in some
// virtual machines such a guest hangs at its first instruction.
func findAccelerator(ctx context.Context, folder string, root image, printer *progress.Printer) (accelerator, error) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return tcg, nil
	}
	device.Close()
	step := printer.Start("looking whether a kernel boots with KVM")
	console := filepath.Join(folder, "probe.log")
	defer os.Remove(console)
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	probe := exec.CommandContext(ctx, emulator, append(kvm.arguments, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-m", "512", "-kernel", root.kernel(), "-append", "console=ttyS0 panic=-1", "-serial", "file:"+console)...)
	// Without a disk a kernel that boots soon panics, and its machine ends. One that hangs is killed.
	err = start(probe)
	text, failed := os.ReadFile(console)
	if failed == nil && bytes.Contains(text, []byte("Linux version")) {
		step.End("it does")
		return kvm, nil
	}
	why := fmt.Sprintf("it says nothing within %s", probeWithin)
	if err != nil && ctx.Err() == nil {
		why = strings.Join(strings.Fields(err.Error()), " ")
	}
	step.End("it does not: " + why)
	return tcg, nil
}

// machine is one that runs.
type machine struct {
	folder                string
	root                  image
	accelerator           accelerator
	processors, memoryMiB int
}

// run starts it and hands its output on until it ends by itself.
func (m machine) run(ctx context.Context, out io.Writer, printer *progress.Printer) error {
	overlay := filepath.Join(m.folder, rootDisk)
	if err := quietly(exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", m.root.disk(), overlay)); err != nil {
		return err
	}
	reader, writer := io.Pipe()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		tell(reader, out, printer)
	}()
	command := exec.CommandContext(ctx, emulator, m.arguments()...)
	command.Stdout = writer
	err := start(command)
	writer.Close()
	<-copied
	return err
}

func (m machine) arguments() []string {
	port := func(name, backend string) []string {
		return []string{"-chardev", backend + ",id=" + name, "-device", "virtserialport,chardev=" + name + ",name=" + name}
	}
	disk := func(file, format string) []string {
		// Nothing of it outlives the machine.
		return []string{"-drive", "file=" + filepath.Join(m.folder, file) + ",if=virtio,format=" + format + ",cache=unsafe"}
	}
	arguments := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-smp", strconv.Itoa(m.processors), "-m", strconv.Itoa(m.memoryMiB),
		// Mitigations protect from neighbours, and there are none.
		"-kernel", m.root.kernel(), "-initrd", m.root.initrd(), "-append", "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off net.ifnames=0",
		"-serial", "file:" + filepath.Join(m.folder, consoleFile),
		"-serial", "unix:" + filepath.Join(m.folder, shellSocket) + ",server=on,wait=off",
		"-monitor", "unix:" + filepath.Join(m.folder, monitorSocket) + ",server=on,wait=off",
		"-nic", "user,model=virtio-net-pci,ipv6=off", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
	}
	for _, more := range [][]string{
		m.accelerator.arguments,
		disk(rootDisk, "qcow2"), disk(payloadDisk, "raw"),
		// Standard output as a file: where standard input has ended, qemu takes a port of both for closed.
		port("output", "file,path=/dev/stdout"),
		port("result", "file,path="+filepath.Join(m.folder, resultFile)),
		port("logs", "file,path="+filepath.Join(m.folder, logsFile)),
	} {
		arguments = append(arguments, more...)
	}
	return arguments
}

// start runs a program that ends with this one, whatever way that ends: the signal follows the thread.
func start(command *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var complaint bytes.Buffer
	command.Stderr = &complaint
	command.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	command.WaitDelay = 5 * time.Second
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command.Path), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return nil
}

// tell hands lines on as they come, each behind the time since the start.
func tell(from io.Reader, out io.Writer, printer *progress.Printer) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			fmt.Fprintf(out, "%s  %s\n", printer.Clock(), bytes.TrimRight([]byte(line), "\r\n"))
		}
		if err != nil {
			return
		}
	}
}
