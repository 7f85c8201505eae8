//go:build tools

// Package tools names the load generators that `make bench-load` measures beside ours, so that their modules stay in go.mod.
package tools

import (
	_ "github.com/tsenart/vegeta/v12"
	_ "go.k6.io/k6"
)
