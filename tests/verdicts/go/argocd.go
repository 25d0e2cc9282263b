package main

// Argo CD: a health check in Lua, run as Argo CD runs it (util/lua and gitops-engine/pkg/health of argoproj/argo-cd),
// with the interpreter that it uses. Argo CD itself cannot be required as a module at a sensible size.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// longestRun is how long Argo CD lets a script run.
const longestRun = time.Second

// hookFinalizer keeps a finished hook until Argo CD has read its health, so Argo CD asks the script about it.
const hookFinalizer = "argocd.argoproj.io/hook-finalizer"

var healthStatuses = []string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

// libraries are those that a script from argocd-cm has without `useOpenLibs`: no `string`, no `math`. Argo CD's own
// `os`, which only has time and date, is left out: a health check that needs the clock is never asked at the right time.
var libraries = []struct {
	name string
	open lua.LGFunction
}{
	{lua.LoadLibName, lua.OpenPackage},
	{lua.BaseLibName, lua.OpenBase},
	{lua.TabLibName, lua.OpenTable},
}

func newArgoCD(path string) (judge, error) {
	script, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return func(object *unstructured.Unstructured) (verdict, error) {
		if object.GetDeletionTimestamp() != nil && !slices.Contains(object.GetFinalizers(), hookFinalizer) {
			return verdict{Status: "Progressing", Message: "Pending deletion"}, nil // before any script is asked
		}
		return runHealth(string(script), object)
	}, nil
}

func runHealth(script string, object *unstructured.Unstructured) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return verdict{}, err
		}
	}
	limited, cancel := context.WithTimeout(context.Background(), longestRun)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	return fromLua(state.Get(-1))
}

func fromLua(value lua.LValue) (verdict, error) {
	health, ok := value.(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("expect table output from Lua script, not %s", value.Type())
	}
	status, ok := health.RawGetString("status").(lua.LString)
	if !ok || !slices.Contains(healthStatuses, string(status)) {
		return verdict{}, errors.New("Lua returned an invalid health status") // in Argo CD: Unknown, with this message
	}
	message := health.RawGetString("message")
	if message.Type() != lua.LTString && message.Type() != lua.LTNil {
		return verdict{}, fmt.Errorf("the message is a %s", message.Type())
	}
	return verdict{Status: string(status), Message: lua.LVAsString(message)}, nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		list := state.CreateTable(len(value), 0)
		for _, item := range value {
			list.Append(toLua(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}
