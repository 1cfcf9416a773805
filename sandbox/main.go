// sandbox runs a real one-node Kubernetes cluster, with a registry and a git server, in namespaces of
// its own, from programs that it builds from Go modules. README.md beside this file says how to use it.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"imagechain.dev/sandbox/internal/cluster"
	"imagechain.dev/sandbox/internal/gitserver"
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
}

func (o *options) cluster() (cluster.Cluster, error) {
	sandbox, err := layout.New(o.number)
	return cluster.Cluster{Sandbox: sandbox, Checkout: o.checkout, Printer: progress.New(os.Stderr)}, err
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
	root.AddCommand(
		shared.on("up", "start it, building what is missing; a running one is left as it is", up),
		down(shared),
		shared.on("status", "how it and its programs are doing", status),
		shared.on("shell", "a shell with kubectl, helm, crane and buildctl that talk to it", shell),
		shared.on("env", "the settings of `shell`, for eval", printEnvironment),
		shared.on("build", "build what is missing: programs, then base images", build),
		shared.on("test-server", "etcd, API server and controllers for one test, until the input ends", testServer),
		initialise(), serveGit(),
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

func testServer(c cluster.Cluster) error {
	folder := os.Getenv("KUBEBUILDER_ASSETS")
	if !testserver.Complete(folder) {
		builder, err := programs.NewBuilder(filepath.Join(c.Checkout, "sandbox", "programs"))
		if err != nil {
			return err
		}
		set, err := builder.Ensure(programs.Modules[:1], c.Printer)
		if err != nil {
			return err
		}
		return testserver.Run([]string{folder, set["kubernetes"]}, os.Stdin, os.Stdout)
	}
	return testserver.Run([]string{folder}, os.Stdin, os.Stdout)
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
