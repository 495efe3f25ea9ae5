{{/*
The name of all objects. It is fixed: the daemon looks after the Releases of
the whole cluster, so a second installation is refused by Helm, since it would
own the same ClusterRole. Shards have names of their own.
*/}}
{{- define "lockstep.name" -}}
lockstep{{ with .Values.shard.name }}-{{ . }}{{ end }}
{{- end }}

{{- define "lockstep.labels" -}}
{{ include "lockstep.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (replace "+" "_" .Chart.Version) }}
{{- end }}

{{/*
The labels of the Pods. They hold no version, since a selector cannot change.
*/}}
{{- define "lockstep.selector" -}}
app.kubernetes.io/name: {{ include "lockstep.name" . }}
{{- end }}

{{- define "lockstep.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}
