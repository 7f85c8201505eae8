//go:build tools

// Package tools names the programs that alerting and the people on call need, so that their modules stay in go.mod.
package tools

import (
	_ "github.com/prometheus/alertmanager/cmd/alertmanager"
	_ "github.com/prometheus/alertmanager/cmd/amtool"
	_ "k8s.io/kube-state-metrics/v2"
)
