package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"imagechain.dev/sandbox/internal/patience"
)

// installCharts installs the definitions and then the operator, or brings them up to date.
func (d Demo) installCharts(ctx context.Context, operator, builder string) error {
	nodes, err := findNodes(ctx)
	if err != nil {
		return err
	}
	values, err := json.Marshal(d.values(ctx, operator, builder, nodes))
	if err != nil {
		return err
	}
	return d.step("installing the operator", func() error {
		if err := d.helm(ctx, release+"-crds", "imagechain-crds", []byte("{}")); err != nil {
			return err
		}
		// --wait: both replicas are ready.
		return d.helm(ctx, release, "imagechain", values)
	})
}

func (d Demo) helm(ctx context.Context, name, chart string, values []byte) error {
	command := exec.CommandContext(ctx, "helm", "upgrade", "--install", name, filepath.Join(d.Checkout, "charts", chart),
		"--namespace="+system, "--create-namespace", "--wait", "--timeout="+patience.Of(5*time.Minute).String(), "--values=-")
	command.Stdin = bytes.NewReader(values)
	if _, err := run(command); err != nil {
		return fmt.Errorf("%w\nSee `kubectl get pods,events -n %s`", err, system)
	}
	return nil
}

// values of the chart: the images by digest, and a profile that fits the nodes.
func (d Demo) values(ctx context.Context, operator, builder string, nodes []node) map[string]any {
	repository, digest, _ := strings.Cut(operator, "@")
	registry := map[string]any{"staging": map[string]any{"repository": d.Registry + "/imagechain/staging"}}
	if d.plainHTTP(ctx) {
		registry["insecure"] = []string{d.Registry}
		if d.hasBase(ctx) {
			registry["mirrors"] = []map[string]string{{"registry": "docker.io", "mirror": d.Registry}}
		}
	}
	resources := fit(nodes)
	profile := map[string]any{
		"images":             map[string]string{"builder": builder},
		"executionNamespace": builds,
		"allowedNamespaces":  map[string]any{"matchLabels": map[string]string{"imagechain.dev/tenant": "true"}},
		"resources":          resources.values(),
		// Who waits for a place is told how many run.
		"maxConcurrentBuilds": resources.times(nodes),
		"registry":            registry,
	}
	return map[string]any{
		"image":    map[string]string{"repository": repository, "digest": digest},
		"replicas": 2,
		"profiles": map[string]any{"docker": profile},
		// Links of the demo's tests name the same file.
		"fileCache": map[string]any{"enabled": true, "size": "1Gi"},
	}
}

// node is what one can give to pods.
type node struct{ milliCPU, memoryMiB int64 }

func findNodes(ctx context.Context) ([]node, error) {
	var list struct {
		Items []struct {
			Status struct {
				Allocatable struct{ CPU, Memory string }
			}
		}
	}
	if err := read(ctx, &list, "get", "nodes"); err != nil {
		return nil, err
	}
	var nodes []node
	for _, item := range list.Items {
		nodes = append(nodes, node{milliCPU(item.Status.Allocatable.CPU), mebibytes(item.Status.Allocatable.Memory)})
	}
	return nodes, nil
}

func milliCPU(text string) int64 {
	if thousandths, found := strings.CutSuffix(text, "m"); found {
		return number(thousandths)
	}
	return 1000 * number(text)
}

// mebibytes reads what a kubelet writes: KiB, or bytes.
func mebibytes(text string) int64 {
	if kibibytes, found := strings.CutSuffix(text, "Ki"); found {
		return number(kibibytes) >> 10
	}
	return number(text) >> 20
}

func number(text string) int64 {
	found, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return found
}

// What is left for others on a node: the operator, and what a cluster has besides.
const (
	othersMilliCPU  = 200
	othersMemoryMiB = 1024
)

// storage is how much disk a build of the demo may have.
const storage = "20Gi"

// fit is the most that one build can have on the largest node, up to the defaults of a profile.
func fit(nodes []node) node {
	var largest node
	for _, each := range nodes {
		if each.milliCPU > largest.milliCPU {
			largest = each
		}
	}
	return node{
		milliCPU:  min(4000, max(500, largest.milliCPU-othersMilliCPU)),
		memoryMiB: min(8192, max(2048, largest.memoryMiB-othersMemoryMiB)),
	}
}

// values are what one build may have, as a profile says it.
func (n node) values() map[string]string {
	return map[string]string{"cpu": fmt.Sprintf("%dm", n.milliCPU), "memory": fmt.Sprintf("%dMi", n.memoryMiB), "storage": storage}
}

// times is how often it fits on the nodes, beside the others: once at least, since a build can wait.
func (n node) times(nodes []node) int64 {
	var all int64
	for _, each := range nodes {
		all += max(0, min((each.milliCPU-othersMilliCPU)/n.milliCPU, (each.memoryMiB-othersMemoryMiB)/n.memoryMiB))
	}
	return min(1000, max(1, all))
}
