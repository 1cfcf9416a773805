package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// bootedLink is the one whose image serves a page.
const bootedLink = "web"

// boot starts the published image in a pod of its own, as anybody would who uses it, and fetches its page.
// The pod stays, for a look; a pod of the same image is left as it is.
func (d Demo) boot(ctx context.Context, seen world) (string, error) {
	image := seen.chain.Link(bootedLink).Published
	if image == nil {
		return "", fmt.Errorf("the link %s has published nothing", bootedLink)
	}
	var page string
	err := d.step("booting the published image "+bootedLink, func() error {
		if err := startShown(ctx, image.Repository+"@"+image.Digest); err != nil {
			return err
		}
		text, err := kubectl(ctx, "get", "--raw", "/api/v1/namespaces/"+shown+"/pods/web:80/proxy/")
		page = string(text)
		return err
	})
	return title(page), err
}

func startShown(ctx context.Context, image string) error {
	namespace, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": shown, "labels": map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}},
	})
	if err != nil {
		return err
	}
	if err := apply(ctx, namespace); err != nil {
		return err
	}
	if running, err := kubectl(ctx, "get", "pods", "--namespace="+shown, "--field-selector=metadata.name=web,status.phase=Running",
		"--output=jsonpath={.items[*].spec.containers[0].image}"); err != nil || string(running) == image {
		return err
	}
	if _, err := kubectl(ctx, "delete", "pod", "web", "--namespace="+shown, "--ignore-not-found"); err != nil {
		return err
	}
	if _, err := kubectl(ctx, "wait", "--for=create", "--timeout=60s", "--namespace="+shown, "serviceaccount/default"); err != nil {
		return err
	}
	pod, err := json.Marshal(shownPod(image))
	if err != nil {
		return err
	}
	if err := apply(ctx, pod); err != nil {
		return err
	}
	if _, err := kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=180s", "--namespace="+shown, "pod/web"); err != nil {
		return fmt.Errorf("the image does not boot: %w: see `kubectl describe pod web -n %s`", err, shown)
	}
	return nil
}

// shownPod is ready when systemd has started everything and the page is served.
func shownPod(image string) map[string]any {
	container := map[string]any{
		"name": "web", "image": image,
		"securityContext": map[string]any{"privileged": true},
		"startupProbe": map[string]any{
			"exec":          map[string]any{"command": []string{"systemctl", "is-system-running"}},
			"periodSeconds": 1, "failureThreshold": 120,
		},
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/", "port": 80}, "periodSeconds": 1},
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": "web", "namespace": shown},
		"spec": map[string]any{
			"automountServiceAccountToken": false, "terminationGracePeriodSeconds": 10,
			"containers": []any{container},
		},
	}
}

// title is the headline of the page.
func title(page string) string {
	_, rest, _ := strings.Cut(page, "<h1>")
	found, _, _ := strings.Cut(rest, "</h1>")
	return found
}
