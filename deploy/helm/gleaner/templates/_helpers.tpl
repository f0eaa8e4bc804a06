{{- define "gleaner.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "gleaner.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gleaner.labels" -}}
{{ include "gleaner.selector" . }}
app.kubernetes.io/component: node-agent
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gleaner.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "gleaner.fullname" .) }}
{{- end }}

{{- define "gleaner.priorityClass" -}}
{{ .Values.priorityClass.name | default (.Values.priorityClass.create | ternary (printf "%s-node-agent" (include "gleaner.fullname" .)) "") }}
{{- end }}

{{- define "gleaner.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "gleaner.subjects" -}}
- kind: ServiceAccount
  name: {{ include "gleaner.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* The environment that says where to send to, and what the values switch. */ -}}
{{- define "gleaner.environment" -}}
{{- $attributes := list }}
{{- range $name, $value := .Values.resourceAttributes }}{{ $attributes = append $attributes (printf "%s=%s" $name $value) }}{{ end -}}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .Values.gateway.endpoint | quote }}
OTEL_RESOURCE_ATTRIBUTES: {{ join "," $attributes | quote }}
{{- if .Values.selfSignedKubelet }}
KUBELET_CA_FILE: /etc/kubelet.crt
{{- end }}
{{- if .Values.ebpf.enabled }}
PROBE_SOCKET: /run/gleaner/probe.sock
{{- end }}
{{- if .Values.hostNetwork }}
STATUS_LISTEN: 127.0.0.1:9465
{{- end }}
{{- range $name, $value := .Values.env }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
