{{- /* Selects the operator's pods. Never changes: a Deployment's selector cannot. */}}
{{- define "openarchive-operator.selector" -}}
app.kubernetes.io/name: openarchive-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "openarchive-operator.labels" -}}
{{ include "openarchive-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: openarchive
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Of every object: the release's name, so that two releases in a namespace do not meet. */}}
{{- define "openarchive-operator.name" -}}
{{- if contains "openarchive-operator" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-openarchive-operator" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "openarchive-operator.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
