package installer

import "strings"

// stanza is the description of a package, as Debian's indexes have it: its lines in their order.
type stanza []string

// stanzas reads an index.
func stanzas(text string) []stanza {
	var found []stanza
	for part := range strings.SplitSeq(text, "\n\n") {
		if part = strings.Trim(part, "\n"); part != "" {
			found = append(found, strings.Split(part, "\n"))
		}
	}
	return found
}

// field is the first line of a field, or nothing.
func (s stanza) field(name string) string {
	for _, line := range s {
		if value, found := strings.CutPrefix(line, name+": "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (s stanza) String() string { return strings.Join(s, "\n") + "\n" }

// source is the name of the source package.
func (s stanza) source() string {
	name, _, _ := strings.Cut(s.field("Source"), " ")
	if name == "" {
		return s.field("Package")
	}
	return name
}
