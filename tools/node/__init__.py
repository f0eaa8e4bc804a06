"""A small Kubernetes node on one machine: pods are network namespaces with real exporters, the kubelet is tools/kubelet, the
gateway is a real OpenTelemetry Collector. For tools/demo, tests/interop and tests/integration; runs inside tools/with-node.
"""
