{{- define "imagechain.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "imagechain.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "imagechain.name" .) }}
{{- end }}

{{/* The operator as the API server knows it. */}}
{{- define "imagechain.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "imagechain.serviceAccount" . }}
{{- end }}

{{- define "imagechain.image" -}}
{{- with .Values.image }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "imagechain.selector" -}}
app.kubernetes.io/name: imagechain
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imagechain.labels" -}}
{{ include "imagechain.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The names of all profiles that may get pods, as JSON. */}}
{{- define "imagechain.profiles" -}}
{{ concat (keys .Values.profiles) .Values.gates.profiles | uniq | sortAlpha | toJson }}
{{- end }}
