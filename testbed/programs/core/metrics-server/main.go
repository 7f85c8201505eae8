// Command metrics-server is sigs.k8s.io/metrics-server on the Kubernetes libraries of this module.
//
// Since 1.35 the libraries look OpenAPI models up by names such as io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics,
// while the definitions that were generated into metrics-server v0.8.0 know them by their Go path; its own main function
// panics over that. Here the definitions are offered under both names and refer to each other by the new ones.
// Everything else is metrics-server's.
package main

import (
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/logs"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/metrics-server/cmd/metrics-server/app/options"
	"sigs.k8s.io/metrics-server/pkg/api"
	generated "sigs.k8s.io/metrics-server/pkg/api/generated/openapi"
)

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	if err := command(options.NewOptions()).ExecuteContext(genericapiserver.SetupSignalContext()); err != nil {
		logs.FlushLogs()
		os.Exit(1)
	}
}

func command(opts *options.Options) *cobra.Command {
	cmd := &cobra.Command{
		Use:          "metrics-server",
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(opts, cmd.Context().Done())
		},
	}
	for _, flags := range opts.Flags().FlagSets {
		cmd.Flags().AddFlagSet(flags)
	}
	return cmd
}

func run(opts *options.Options, stop <-chan struct{}) error {
	if errs := opts.Validate(); len(errs) > 0 {
		return errs[0]
	}
	config, err := opts.ServerConfig()
	if err != nil {
		return err
	}
	describe(config.Apiserver)
	server, err := config.Complete()
	if err != nil {
		return err
	}
	return server.RunUntil(stop)
}

func describe(config *genericapiserver.Config) {
	namer := openapinamer.NewDefinitionNamer(api.Scheme)
	info := config.OpenAPIConfig.Info
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	config.OpenAPIConfig.Info, config.OpenAPIV3Config.Info = info, info
}

func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	byPath := generated.GetOpenAPIDefinitions(func(path string) spec.Ref {
		return ref(util.ToRESTFriendlyName(path))
	})
	both := maps.Clone(byPath)
	for path, definition := range byPath {
		definition.Dependencies = slices.Clone(definition.Dependencies)
		for i, dependency := range definition.Dependencies {
			definition.Dependencies[i] = util.ToRESTFriendlyName(dependency)
		}
		both[path], both[util.ToRESTFriendlyName(path)] = definition, definition
	}
	return both
}
