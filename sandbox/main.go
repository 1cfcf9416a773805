// sandbox runs a real one-node Kubernetes cluster, with a registry and a git server, in namespaces of
// its own, from programs that it builds from Go modules. README.md beside this file says how to use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"imagechain.dev/sandbox/internal/background"
	"imagechain.dev/sandbox/internal/cluster"
	"imagechain.dev/sandbox/internal/demo"
	"imagechain.dev/sandbox/internal/gitserver"
	"imagechain.dev/sandbox/internal/guest"
	"imagechain.dev/sandbox/internal/host"
	"imagechain.dev/sandbox/internal/images"
	"imagechain.dev/sandbox/internal/layout"
	"imagechain.dev/sandbox/internal/node"
	"imagechain.dev/sandbox/internal/programs"
	"imagechain.dev/sandbox/internal/progress"
	"imagechain.dev/sandbox/internal/testserver"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
		os.Exit(1)
	}
}

// options are those that several commands share.
type options struct {
	number   int
	checkout string
	prebuilt string
}

func (o *options) cluster() (cluster.Cluster, error) {
	sandbox, err := layout.New(o.number)
	return cluster.Cluster{Sandbox: sandbox, Checkout: o.checkout, Prebuilt: o.prebuilt, Printer: progress.New(os.Stderr)}, err
}

// on makes a command that acts on one sandbox.
func (o *options) on(use, short string, act func(cluster.Cluster) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			found, err := o.cluster()
			if err != nil {
				return err
			}
			return act(found)
		},
	}
}

func command() *cobra.Command {
	shared := &options{}
	root := &cobra.Command{
		Use:           "sandbox",
		Short:         "A real one-node Kubernetes cluster, registry and git server from package registries",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().IntVar(&shared.number, "number", 0, "which of the machine's sandboxes, 0 to 99")
	root.PersistentFlags().StringVar(&shared.checkout, "checkout", ".", "the folder of the repository")
	root.PersistentFlags().StringVar(&shared.prebuilt, "prebuilt", "", "a file that tells where each module's programs are; nothing is compiled then")
	root.AddCommand(
		shared.on("up", "start it, building what is missing; a running one is left as it is", up),
		down(shared),
		shared.on("status", "how it and its programs are doing", status),
		shared.on("shell", "a shell with kubectl, helm, crane and buildctl that talk to it", shell),
		shared.on("env", "the settings of `shell`, for eval", printEnvironment),
		shared.on("build", "build what is missing: programs, then base images", build),
		shared.on("tools", "the folder of helm, built if it is missing", tools),
		shared.on("machines", "install what tests of machines need: qemu", machines),
		showDemo(shared), runGuest(shared), testServer(shared), initialise(), serveGit(),
	)
	return root
}

func up(c cluster.Cluster) error {
	if err := c.Up(); err != nil {
		return err
	}
	return c.Explain(os.Stdout)
}

func down(shared *options) *cobra.Command {
	keep := false
	made := shared.on("down", "end it and remove all that it made", func(c cluster.Cluster) error { return c.Down(keep) })
	made.Flags().BoolVar(&keep, "keep", false, "keep its state, for the next `up`")
	return made
}

func status(c cluster.Cluster) error { return c.Status(os.Stdout) }

func shell(c cluster.Cluster) error { return c.Shell() }

func printEnvironment(c cluster.Cluster) error {
	return c.PrintEnvironment(os.Stdout)
}

func build(c cluster.Cluster) error { return c.Build() }

// tools is for make and for tests, which need helm but no cluster of ours.
func tools(c cluster.Cluster) error {
	builder, err := programs.NewBuilder(filepath.Join(c.Checkout, "sandbox", "programs"))
	if err != nil {
		return err
	}
	set, err := builder.Ensure(context.Background(), []programs.Module{programs.Helm}, c.Printer)
	if err != nil {
		return err
	}
	_, err = fmt.Println(set[programs.Helm.Name])
	return err
}

func machines(c cluster.Cluster) error { return host.EnsurePackages(c.Printer, host.ToBoot) }

// showDemo uses the cluster that the environment names, or else the sandbox, which it starts.
func showDemo(shared *options) *cobra.Command {
	program, compile := "", ""
	made := shared.on("demo", "the operator and a chain, from its manifest to images that are tested and published", func(c cluster.Cluster) error {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return runDemo(ctx, c, program, compile)
	})
	made.Flags().StringVar(&program, "program", "", "the operator's program, for its image")
	made.Flags().StringVar(&compile, "compile", "", "a line of shell that makes the program, in the checkout; it runs beside what is built for the sandbox")
	return made
}

// runDemo begins everything that takes long at once, and waits for each part where it is needed.
func runDemo(ctx context.Context, c cluster.Cluster, program, compile string) error {
	group := background.NewGroup(ctx)
	defer group.End()
	compiled := background.Begin(group, string(demo.Program), func(ctx context.Context) (string, error) {
		return program, demo.Compile(ctx, c.Checkout, compile, c.Printer)
	})
	if os.Getenv("KUBECONFIG") != "" && os.Getenv("REGISTRY") != "" {
		if _, err := compiled.Wait(c.Printer, "the demo"); err != nil {
			return err
		}
		return newDemo(c, program).Run(group.Context())
	}
	modules := slices.DeleteFunc(slices.Clone(programs.Modules), func(module programs.Module) bool { return module.Name == programs.Crane.Name })
	started, err := c.Begin(group, modules, images.Suites[:1])
	if err != nil {
		return err
	}
	if err := errors.Join(started.Furnish(), c.Use()); err != nil {
		return err
	}
	return demoOn(ctx, group, started, newDemo(c, program), compiled)
}

func newDemo(c cluster.Cluster, program string) demo.Demo {
	return demo.Demo{Settings: demo.FromEnvironment(c.Checkout, program), Printer: c.Printer, Out: os.Stdout, Terminal: progress.IsTerminal(os.Stdout)}
}

// demoOn runs it on a sandbox of which parts are still being built. What it does not need is made after the first
// image, while the chain goes on.
func demoOn(ctx context.Context, group *background.Group, started cluster.Started, shown demo.Demo, compiled *background.Result[string]) error {
	shown.Sandbox = &started.Number
	shown.Await = func(part demo.Part, waiting string) error {
		switch part {
		case demo.Program:
			_, err := compiled.Wait(started.Printer, waiting)
			return err
		case demo.BuildKit:
			return started.Await(programs.BuildKit, waiting)
		case demo.Helm:
			return started.Await(programs.Helm, waiting)
		default:
			return started.Await(programs.CoreDNS, waiting)
		}
	}
	rest := background.NewGroup(ctx)
	defer rest.End()
	var completed *background.Result[struct{}]
	firstImage := ""
	shown.FirstImage = func(link string) {
		firstImage = fmt.Sprintf("the first image (%s) was published after %s", link, strings.TrimSpace(started.Printer.Clock()))
		completed = background.Begin(rest, "what the demo does not need: crane, and the images of Debian 12", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, started.Complete(ctx, progress.Silent())
		})
	}
	if err := shown.Run(group.Context()); err != nil {
		return err
	}
	started.Printer.Say("%s", firstImage)
	started.Printer.SaySlowest()
	_, err := completed.Wait(started.Printer, "the end")
	return err
}

// runGuest is for what this machine's kernel cannot show.
func runGuest(shared *options) *cobra.Command {
	machine := guest.Guest{Out: os.Stdout}
	line := ""
	made := shared.on("guest", "run a line of shell in a virtual machine with cgroup v2, where a sandbox can be started", func(c cluster.Cluster) error {
		machine.Cluster = c
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return machine.Run(ctx, line)
	})
	made.Flags().StringVar(&machine.Program, "program", "", "the operator's program")
	made.Flags().IntVar(&machine.Processors, "processors", 2, "how many it has")
	made.Flags().IntVar(&machine.MemoryMiB, "memory", 8192, "how much memory it has, in MiB")
	made.Flags().StringVar(&line, "run", "", "the line, in the folder of the tests' program `demotest`")
	return made
}

func testServer(shared *options) *cobra.Command {
	asked, noAPIServer := testserver.Options{}, false
	made := shared.on("test-server", "servers for one test, until the input ends; by default etcd, API server and controllers", func(c cluster.Cluster) error {
		asked.APIServer = !noAPIServer
		folders, err := testPrograms(c, asked)
		if err != nil {
			return err
		}
		asked.Folders = folders
		return testserver.Run(asked, os.Stdin, os.Stdout)
	})
	made.Flags().BoolVar(&noAPIServer, "no-apiserver", false, "leave etcd, API server and controllers out")
	made.Flags().BoolVar(&asked.Registry, "registry", false, "start a registry")
	made.Flags().StringVar(&asked.RegistryUser, "registry-user", "", "USER:PASSWORD, which the registry asks for; default: it asks nobody")
	made.Flags().BoolVar(&asked.RegistryTLS, "registry-tls", false, "let the registry use TLS; the authority is pki/ca.crt in the folder")
	made.Flags().BoolVar(&asked.Git, "git", false, "start a git server")
	return made
}

// testPrograms are the folders with what is asked for, built where it is missing.
func testPrograms(c cluster.Cluster, asked testserver.Options) ([]string, error) {
	own := os.Getenv("KUBEBUILDER_ASSETS")
	needed := map[string]bool{"kubernetes": asked.APIServer && !testserver.Complete(own), "node": asked.Registry}
	modules := slices.DeleteFunc(slices.Clone(programs.Modules), func(module programs.Module) bool { return !needed[module.Name] })
	if len(modules) == 0 {
		return []string{own}, nil
	}
	builder, err := programs.NewBuilder(filepath.Join(c.Checkout, "sandbox", "programs"))
	if err != nil {
		return nil, err
	}
	set, err := builder.Ensure(context.Background(), modules, c.Printer)
	return append([]string{own}, set.Folders()...), err
}

// initialise is PID 1 of the namespaces.
func initialise() *cobra.Command {
	return &cobra.Command{Use: "init", Hidden: true, RunE: func(*cobra.Command, []string) error { return node.Run(os.Stdin) }}
}

func serveGit() *cobra.Command {
	var listen, folder string
	made := &cobra.Command{Use: "git-server", Hidden: true, RunE: func(*cobra.Command, []string) error {
		handler, err := gitserver.New(folder)
		if err != nil {
			return err
		}
		return http.ListenAndServe(listen, handler)
	}}
	made.Flags().StringVar(&listen, "listen", "127.0.0.1:8000", "address and port")
	made.Flags().StringVar(&folder, "folder", ".", "where the repositories are")
	return made
}
