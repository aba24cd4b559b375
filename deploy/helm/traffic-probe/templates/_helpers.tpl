{{- define "traffic-probe.name" -}}
{{- if contains "traffic-probe" .Release.Name }}{{ .Release.Name | trunc 53 }}{{ else }}{{ printf "%s-traffic-probe" .Release.Name | trunc 53 }}{{ end }}
{{- end }}

{{- define "traffic-probe.selector" -}}
app.kubernetes.io/name: traffic-probe
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "traffic-probe.labels" -}}
{{ include "traffic-probe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
