//go:build tools

// Package tools names the programs of KEDA, so that their modules stay in go.mod.
package tools

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
