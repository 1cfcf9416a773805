package images

import "testing"

func TestParseTargets(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want Mirror
	}{
		"a Debian": {
			"http://security.example/debian-security/ bookworm-security\nhttp://m.example/debian/ bookworm\nhttp://m.example/debian/ bookworm-updates\n",
			Mirror{"http://m.example/debian", "http://security.example/debian-security"},
		},
		"other repositories come first": {
			"https://tools.example/apt stable-tools\nhttp://m.example/debian trixie-updates\nhttp://m.example/debian trixie\n",
			Mirror{"http://m.example/debian", ""},
		},
		"an Ubuntu": {"http://u.example/ubuntu noble\nhttp://u.example/ubuntu noble-security\n", Mirror{}},
		"nothing":   {"", Mirror{}},
	} {
		if got := parseTargets(test.text); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestARecipeHasItsOwnFolder(t *testing.T) {
	seen := map[string]Recipe{}
	for _, mirror := range []Mirror{{"http://a", ""}, {"http://a", "http://s"}, {"http://b", ""}} {
		for _, recipe := range recipes(mirror) {
			folder, err := recipe.folder("/cache")
			if err != nil {
				t.Fatal(err)
			}
			if other, taken := seen[folder]; taken {
				t.Errorf("%+v and %+v share %s", recipe, other, folder)
			}
			seen[folder] = recipe
		}
	}
}
