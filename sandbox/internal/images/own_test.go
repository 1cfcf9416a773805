package images

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnImageIsBuiltAgainWhenItsInputsChange(t *testing.T) {
	checkout := t.TempDir()
	recipe, program := filepath.Join(checkout, "images", "operator", "Dockerfile"), filepath.Join(checkout, "program")
	own := Own{Name: "operator", Checkout: checkout, Programs: map[string]string{"imagechain": program}}
	hash := func() string {
		t.Helper()
		found, err := own.inputs("")
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	write(t, recipe, "FROM debian")
	write(t, program, "1")
	seen := []string{hash()}
	if again := hash(); again != seen[0] {
		t.Errorf("the same inputs gave %s and %s", seen[0], again)
	}
	for path, text := range map[string]string{recipe: "FROM other", program: "2", filepath.Join(filepath.Dir(recipe), "more"): ""} {
		write(t, path, text)
		found := hash()
		if slices.Contains(seen, found) {
			t.Errorf("a change of %s does not count", path)
		}
		seen = append(seen, found)
	}
}

func TestAProgramThatIsMissingIsAnError(t *testing.T) {
	checkout := t.TempDir()
	write(t, filepath.Join(checkout, "images", "operator", "Dockerfile"), "FROM debian")
	own := Own{Name: "operator", Checkout: checkout, Programs: map[string]string{"imagechain": filepath.Join(checkout, "nothing")}}
	if found, err := own.inputs(""); err == nil {
		t.Errorf("it is %s", found)
	}
}
