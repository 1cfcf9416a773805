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
{{ include "imagechain.release" . }}
{{- end }}

{{/* The catalog of boxes is no controller: what selects those must not find it. */}}
{{- define "imagechain.boxesSelector" -}}
app.kubernetes.io/name: imagechain-boxes
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imagechain.boxesLabels" -}}
{{ include "imagechain.boxesSelector" . }}
{{ include "imagechain.release" . }}
{{- end }}

{{/* So does the cache of files. */}}
{{- define "imagechain.fileCacheSelector" -}}
app.kubernetes.io/name: imagechain-file-cache
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "imagechain.fileCacheLabels" -}}
{{ include "imagechain.fileCacheSelector" . }}
{{ include "imagechain.release" . }}
{{- end }}

{{/* What the volume of the cache may hold: 64Mi more than its files. */}}
{{- define "imagechain.fileCacheLimit" -}}
{{ $unit := get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) (regexFind "[A-Z]i$" .Values.fileCache.size) -}}
{{ add 64 (mul $unit (regexFind "^[0-9]+" .Values.fileCache.size | int64)) }}Mi
{{- end }}

{{- define "imagechain.release" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "imagechain.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "imagechain.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* How the program reaches servers, and what it costs. */}}
{{- define "imagechain.network" -}}
# glibc gives threads heaps of their own otherwise, and keeps what each had at its busiest.
- name: MALLOC_ARENA_MAX
  value: "1"
{{- with .Values.network.proxy.http }}
- name: IMAGECHAIN_HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.network.proxy.https }}
- name: IMAGECHAIN_HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.network.proxy.noProxy }}
- name: IMAGECHAIN_NO_PROXY
  value: {{ join "," . | quote }}
{{- end }}
{{- if .Values.network.certificateAuthority }}
- name: IMAGECHAIN_CERTIFICATE_AUTHORITY
  value: /etc/imagechain/ca.crt
{{- end }}
{{- end }}

{{/* The names of all profiles that may get pods, as JSON. */}}
{{- define "imagechain.profiles" -}}
{{ concat (keys .Values.profiles) .Values.gates.profiles | uniq | sortAlpha | toJson }}
{{- end }}
