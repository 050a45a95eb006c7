# Makes src/domain/attack.tsv of the bundle enterprise-attack.json that MITRE publishes (github.com/mitre-attack/attack-stix-data):
#   jq -r --arg version 18.1 --arg year 2025 -f src/domain/attack.jq enterprise-attack.json > src/domain/attack.tsv
def id: .external_references[] | select(.source_name == "mitre-attack") | .external_id;
[.objects[] | select(.type == "x-mitre-tactic")] as $tactics
| ($tactics | map({key: .x_mitre_shortname, value: id}) | from_entries) as $ids
| "# MITRE ATT&CK® Enterprise, version \($version): id, name, tactics; `retired` when revoked or deprecated. Made by attack.jq.",
  "# The MITRE Corporation (MITRE) hereby grants you a non-exclusive, royalty-free license to use ATT&CK® for research,",
  "# development, and commercial purposes. Any copy you make for such purposes is authorized provided that you reproduce",
  "# MITRE's copyright designation and this license in any such copy.",
  "# © \($year) The MITRE Corporation. This work is reproduced and distributed with the permission of The MITRE Corporation.",
  ($tactics | sort_by(id)[] | [id, .name] | join("\t")),
  ([.objects[] | select(.type == "attack-pattern")] | sort_by(id, (.revoked // false))[]
    | [id, .name, ([(.kill_chain_phases // [])[] | select(.kill_chain_name == "mitre-attack") | $ids[.phase_name]] | sort | join(","))]
      + (if .revoked or .x_mitre_deprecated then ["retired"] else [] end)
    | join("\t"))
