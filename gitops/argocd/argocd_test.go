// Package argocd tests the health checks and actions as Argo CD runs them: by gopher-lua, with the object as
// the global `obj`, and with the form of Argo CD's own test data (its resource_customizations).
package argocd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, into any, path ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err == nil {
		err = yaml.UnmarshalStrict(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a script over an object. Health checks have no library but the basic ones, actions also os.
func run(t *testing.T, script string, object map[string]any) lua.LValue {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, library := range map[string]lua.LGFunction{"": lua.OpenBase, "table": lua.OpenTable, "package": lua.OpenPackage} {
		state.Push(state.NewFunction(library))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.PreloadModule("os", func(state *lua.LState) int {
		state.Push(state.SetFuncs(state.NewTable(), map[string]lua.LGFunction{"date": func(state *lua.LState) int {
			state.Push(lua.LString(time.Now().UTC().Format(time.RFC3339)))
			return 1
		}}))
		return 1
	})
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	return state.Get(-1)
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, each := range value {
			table.RawSetString(key, toLua(state, each))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, each := range value {
			table.Append(toLua(state, each))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case nil:
		return lua.LNil
	default:
		panic(fmt.Sprintf("%T is not in YAML", value))
	}
}

func field(value lua.LValue, path ...string) string {
	for _, name := range path {
		table, ok := value.(*lua.LTable)
		if !ok {
			return ""
		}
		value = table.RawGetString(name)
	}
	return value.String()
}

func TestHealth(t *testing.T) {
	for _, kind := range []string{"ImageChain", "ImageBuild"} {
		var cases struct {
			Tests []struct {
				HealthStatus struct{ Status, Message string }
				InputPath    string
			}
		}
		read(t, &cases, kind, "health_test.yaml")
		script, err := os.ReadFile(filepath.Join(kind, "health.lua"))
		if err != nil {
			t.Fatal(err)
		}
		tested := map[string]bool{}
		for _, each := range cases.Tests {
			tested[filepath.Join(kind, each.InputPath)] = true
			t.Run(kind+"/"+filepath.Base(each.InputPath), func(t *testing.T) {
				var object map[string]any
				read(t, &object, kind, each.InputPath)
				health := run(t, string(script), object)
				if got := field(health, "status"); got != each.HealthStatus.Status {
					t.Errorf("%s, not %s", got, each.HealthStatus.Status)
				}
				if got := field(health, "message"); got != each.HealthStatus.Message {
					t.Errorf("message %q, not %q", got, each.HealthStatus.Message)
				}
			})
		}
		data, err := filepath.Glob(filepath.Join(kind, "testdata", "*.yaml"))
		if err != nil || len(data) != len(tested) {
			t.Errorf("%d of %d files of %s are tested: %v", len(tested), len(data), kind, err)
		}
	}
}

type actions struct {
	Discovery   string `json:"discovery.lua"`
	Definitions []struct {
		Name   string `json:"name"`
		Action string `json:"action.lua"`
	} `json:"definitions"`
}

func (all *actions) script(t *testing.T, name string) string {
	t.Helper()
	for _, each := range all.Definitions {
		if each.Name == name {
			return each.Action
		}
	}
	t.Fatalf("there is no action %s", name)
	return ""
}

func TestActions(t *testing.T) {
	cases := []struct{ kind, action, input, disabled, path, want string }{
		{"ImageChain", "rebuild", "finished", "", "imagechain.dev/requestedAt", time.Now().UTC().Format("2006-")},
		{"ImageChain", "suspend", "finished", "false", "suspend", "true"},
		{"ImageChain", "resume", "suspended", "false", "suspend", "nil"},
		{"ImageChain", "resume", "finished", "true", "suspend", "nil"},
		{"ImageChain", "suspend", "suspended", "true", "suspend", "true"},
		{"ImageBuild", "cancel", "web", "true", "imagechain.dev/cancel", "cancelled"},
	}
	for _, each := range cases {
		t.Run(each.kind+" "+each.action+" "+each.input, func(t *testing.T) {
			var all actions
			read(t, &all, each.kind, "actions.yaml")
			var object map[string]any
			read(t, &object, each.kind, "testdata", each.input+".yaml")
			offered := run(t, all.Discovery, object)
			if got := field(offered, each.action, "disabled"); each.disabled != "" && got != each.disabled {
				t.Errorf("disabled: %s, not %s", got, each.disabled)
			}
			done := run(t, all.script(t, each.action), object)
			got := field(done, "spec", each.path)
			if each.path != "suspend" {
				got = field(done, "metadata", "annotations", each.path)
			}
			if len(got) < len(each.want) || got[:len(each.want)] != each.want {
				t.Errorf("%s is %q after it, not %q…", each.path, got, each.want)
			}
		})
	}
}

// What is offered can be done, and the other way round.
func TestAllActionsAreOffered(t *testing.T) {
	for kind, input := range map[string]string{"ImageChain": "finished", "ImageBuild": "web"} {
		var all actions
		read(t, &all, kind, "actions.yaml")
		var object map[string]any
		read(t, &object, kind, "testdata", input+".yaml")
		offered := map[string]bool{}
		run(t, all.Discovery, object).(*lua.LTable).ForEach(func(name, _ lua.LValue) { offered[name.String()] = true })
		defined := map[string]bool{}
		for _, each := range all.Definitions {
			defined[each.Name] = true
		}
		if !maps.Equal(offered, defined) {
			t.Errorf("%s: offered %v, defined %v", kind, slices.Sorted(maps.Keys(offered)), slices.Sorted(maps.Keys(defined)))
		}
	}
}
