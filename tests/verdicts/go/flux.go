package main

// Flux: the `healthCheckExprs` of a Kustomization, evaluated by the reader that Flux's kustomize-controller waits with.

import (
	"context"
	"fmt"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// kustomization is what is read of a Flux Kustomization.
type kustomization struct {
	Spec struct {
		HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
	} `json:"spec"`
}

func newFlux(path string) (judge, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found kustomization
	if err := yaml.Unmarshal(text, &found); err != nil {
		return nil, err
	}
	if len(found.Spec.HealthCheckExprs) == 0 {
		return nil, fmt.Errorf("%s has no spec.healthCheckExprs", path)
	}
	newReader, err := cel.NewStatusReader(found.Spec.HealthCheckExprs)
	if err != nil {
		return nil, err
	}
	reader := newReader(nil) // the mapper is for looking objects up, and here they are given
	return func(object *unstructured.Unstructured) (verdict, error) {
		result, err := reader.ReadStatusForObject(context.Background(), nil, object)
		if err != nil {
			return verdict{}, err
		}
		if result.Error != nil { // Flux then waits until its timeout
			return verdict{}, result.Error
		}
		return verdict{Status: result.Status.String(), Message: result.Message}, nil
	}, nil
}
