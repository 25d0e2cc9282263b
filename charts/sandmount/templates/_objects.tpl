{{/* Off, Warn or Deny. Without quotes YAML takes Off for false. */}}
{{- define "sandmount.admission" -}}{{ .Values.admission | default "Off" }}{{- end }}

{{/* The objects of one of the files, which are those of manifests/: in the release's namespace, with our label. */}}
{{- define "sandmount.objects" -}}
{{- $root := index . 0 }}
{{- range $file := rest . }}
{{- $text := required (printf "%s is missing" $file) ($root.Files.Get (printf "files/%s.yaml" $file)) }}
{{- $own := printf "namespace: %q" $root.Release.Namespace }}{{/* in quotes: a name can be a number */}}
{{- $text = $text | replace "namespace: sandmount-system" $own | replace "sandmount-system" $root.Release.Namespace }}
{{- range splitList "\n---\n" $text }}
{{- $object := fromYaml . }}
{{- if $object.kind }}
{{- $more := ternary $root.Values.monitoring.labels dict (hasPrefix "monitoring" $file) }}
{{- $_ := set $object.metadata "labels" (merge (dict "app.kubernetes.io/part-of" "sandmount") $more ($object.metadata.labels | default dict)) }}
{{- if eq $file "base-networkpolicy" }}
{{- with $root.Values.networkPolicy.metricsFrom }}
{{- $_ := set (index $object.spec.ingress 0) "from" . }}
{{- else }}{{/* an empty from would mean everybody */}}
{{- $_ := set $object.spec "ingress" (rest $object.spec.ingress) }}
{{- end }}
{{- end }}
{{- if $root.Values.certManager }}{{/* as manifests/webhook-cert-manager does it */}}
{{- if and (eq $file "webhook-rbac") (eq $object.kind "Role") }}
{{- $_ := set (index $object.rules 0) "verbs" (list "list" "watch") }}
{{- else if eq $file "webhook-configuration" }}
{{- $_ := set $object.metadata "annotations" (dict "cert-manager.io/inject-ca-from" (printf "%s/sandmount-webhook" $root.Release.Namespace)) }}
{{- $_ := set (index $object.webhooks 0).clientConfig.service "path" "/validate" }}
{{- end }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
