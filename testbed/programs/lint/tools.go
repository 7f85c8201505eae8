//go:build tools

// Package tools names the linter of our workflows, so that its module stays in go.mod.
package tools

import (
	_ "github.com/rhysd/actionlint/cmd/actionlint"
)
