// Command verdicts says what tools think of Kubernetes objects: it reads one object in JSON per line, and prints one
// verdict in JSON per line. Tests of Sandmount's status run it, because only the tools' own code knows what they say.
//
//	verdicts kstatus
//	verdicts argocd HEALTH.lua
//	verdicts flux KUSTOMIZATION.yaml
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// longestLine is above what the API server stores of one object (1.5 MiB).
const longestLine = 4 << 20

// verdict is one line of output: a status and a message, or an error when the object cannot be judged.
type verdict struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

// judge is one tool's opinion of one object.
type judge func(*unstructured.Unstructured) (verdict, error)

func main() {
	chosen, err := choose(os.Args[1:])
	if err == nil {
		err = judgeLines(chosen, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdicts:", err)
		os.Exit(1)
	}
}

func choose(arguments []string) (judge, error) {
	switch {
	case len(arguments) == 1 && arguments[0] == "kstatus":
		return kstatus, nil
	case len(arguments) == 2 && arguments[0] == "argocd":
		return newArgoCD(arguments[1])
	case len(arguments) == 2 && arguments[0] == "flux":
		return newFlux(arguments[1])
	}
	return nil, errors.New("usage: verdicts kstatus | argocd HEALTH.lua | flux KUSTOMIZATION.yaml")
}

func judgeLines(chosen judge, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, longestLine)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		// Not encoding/json: numbers have to be int64, as they are in the tools, which ask for int64 and nothing else.
		object := &unstructured.Unstructured{}
		err := object.UnmarshalJSON(lines.Bytes())
		var found verdict
		if err == nil {
			found, err = chosen(object)
		}
		if err != nil {
			found = verdict{Error: err.Error()}
		}
		if err := encoder.Encode(found); err != nil {
			return err
		}
	}
	return lines.Err()
}
