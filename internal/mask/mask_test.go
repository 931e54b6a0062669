package mask

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pilotexec/pilot/internal/model"
)

func TestText(t *testing.T) {
	const key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc=\n-----END RSA PRIVATE KEY-----"
	for _, c := range []struct{ name, text, want string }{
		// Environment and flags.
		{"variable", "PGPASSWORD=hunter2 psql -h db", "PGPASSWORD=*** psql -h db"},
		{"variable, quoted", `DB_PASSWORD="two words" x`, `DB_PASSWORD="***" x`},
		{"variable, single quotes", `DB_PASSWORD='two words' x`, `DB_PASSWORD='***' x`},
		{"variable, quote left open", `DB_PASSWORD="two words`, `DB_PASSWORD="***`},
		{"token", "VAULT_TOKEN=s.abc", "VAULT_TOKEN=***"},
		{"secret", "CLIENT_SECRET=abc;next", "CLIENT_SECRET=***;next"},
		{"key", "API_KEY=abc AWS_ACCESS_KEY_ID=abc KEY=v", "API_KEY=*** AWS_ACCESS_KEY_ID=*** KEY=***"},
		{"flag", "--password=hunter2 --user=x", "--password=*** --user=x"},
		{"flag with a space", "etcdctl --password hunter2 --user x", "etcdctl --password *** --user x"},
		{"flag without a value", "login --password --user x", "login --password --user x"},
		{"flag, other spelling", "-dbPassword hunter2 -apiKey=k", "-dbPassword *** -apiKey=***"},
		{"property", "-Djavax.net.ssl.keyStorePassword=changeit", "-Djavax.net.ssl.keyStorePassword=***"},
		{"query", "http://h/p?access_token=abc&x=1", "http://h/p?access_token=***&x=1"},
		{"connection string", "Server=db;Password=p w;User=u", "Server=db;Password=*** w;User=u"},
		{"libpq", "host=db password=hunter2 user=x", "host=db password=*** user=x"},
		{"a value that is a name", "a=password=hunter2", "a=password=***"},
		// Text of programs.
		{"JSON", `{"user":"x","password":"a\tb c","n":1}`, `{"user":"x","password":"***","n":1}`},
		{"JSON, number", `{"secret": 12345, "n":1}`, `{"secret": *** "n":1}`},
		{"JSON in JSON", `{"msg":"{\"password\":\"hunter2\",\"n\":1}"}`, `{"msg":"{\"password\":\"***\",\"n\":1}"}`},
		{"JSON, empty", `{"token":"","secret":"x"} {\"token\":\"\"}`, `{"token":"","secret":"***"} {\"token\":\"\"}`},
		{"YAML", "password: hunter2", "password: ***"},
		{"logfmt", `level=info token=abc msg="x"`, `level=info token=*** msg="x"`},
		{"sentence", "the password is wrong", "the password is wrong"},
		// URLs.
		{"URL", "postgres://app:hunter2@db:5432/x", "postgres://app:***@db:5432/x"},
		{"URL, @ in it", "amqp://app:hun@ter2@db", "amqp://app:***@db"},
		{"URL, no user", "redis://:hunter2@db", "redis://:***@db"},
		{"two URLs", "a http://u:p@h/x http://h:80/y@z", "a http://u:***@h/x http://h:80/y@z"},
		{"URL, cut in a quote", "x http://h:80… postgres://app:hunt…", "x http://h:80… postgres://app:***…"},
		{"no password", "ssh://git@h:22/x", "ssh://git@h:22/x"},
		// Headers.
		{"Authorization", "Authorization: Bearer abc.def http://h", "Authorization: Bearer *** http://h"},
		{"Authorization, quoted", `curl -H 'Authorization: Basic dTpw' http://h`, `curl -H 'Authorization: Basic ***' http://h`},
		{"Authorization, small", "> authorization: hunter2", "> authorization: ***"},
		{"Authorization, digest", `Authorization: Digest username=u, response=abc`, `Authorization: ***`},
		{"Authorization, JSON", `{"Authorization":"Bearer abc","x":1}`, `{"Authorization":"Bearer ***","x":1}`},
		{"Authorization, Go", `map[Authorization:[Bearer abc]]`, `map[Authorization:[Bearer ***`},
		{"Cookie", "Set-Cookie: sid=abc; Path=/", "Set-Cookie: ***"},
		{"X-Api-Key", "x-api-key: abc", "x-api-key: ***"},
		{"bearer alone", "sent bearer abcdefghijklmnop", "sent bearer ***"},
		{"bearer of news", "bearer of news", "bearer of news"},
		// Forms.
		{"JWT", "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_d here", "got *** here"},
		{"forge", "git clone ghp_abcdefghijklmnop1234", "git clone ***"},
		{"AWS", "id AKIAIOSFODNN7EXAMPLE.", "id ***."},
		{"key block", "a\n" + key + "\nb", "a\n-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\nb"},
		{"key block, cut", key[:50], "-----BEGIN RSA PRIVATE KEY-----***"},
		{"key block, its end", "MIIEpAIBAAKCAQEA\nMIIEpAIBAAKCAQEA\n-----END PRIVATE KEY-----", "***-----END PRIVATE KEY-----"},
		{"key block in JSON", `{"k":"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"}`, `{"k":"-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\n"}`},
		{"certificate", "-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"},
		// What is none.
		{"path", "--key-file=/etc/k.pem --trusted-ca-file=x --tls-key k", "--key-file=/etc/k.pem --trusted-ca-file=x --tls-key k"},
		{"an error about a quoted path", `exec "/etc/passwd": permission denied`, `exec "/etc/passwd": permission denied`},
		{"an error about a path", "open /etc/passwd: permission denied, /run/secrets/token: gone", "open /etc/passwd: permission denied, /run/secrets/token: gone"},
		{"password file", "PASSWORD_FILE=/run/secrets/p", "PASSWORD_FILE=/run/secrets/p"},
		{"key of a map", `key=/a/b {"key":"x"} keyspace=y`, `key=/a/b {"key":"x"} keyspace=y`},
		{"panic", "panic: tocommit(608) is out of range [lastIndex(0)]", "panic: tocommit(608) is out of range [lastIndex(0)]"},
		{"keys only", "etcdctl get --prefix --keys-only /", "etcdctl get --prefix --keys-only /"},
		{"tokens", "max_tokens=100 tokenizer=x", "max_tokens=100 tokenizer=x"},
		{"monkey", "MONKEY=x TURKEY=y", "MONKEY=x TURKEY=y"},
		{"directory", "PWD=/root OLDPWD=/", "PWD=/root OLDPWD=/"},
		{"curl", "sh -c curl -fsS -u app:hunter2 http://h; docker run -u 1:1", "sh -c curl -fsS -u app:*** http://h; docker run -u 1:1"},
		{"curl, quoted", `curl --user 'app:hunter2' http://h:80`, `curl --user 'app:***' http://h:80`},
		{"curl, no user", "curl http://h:80/-u:x", "curl http://h:80/-u:x"},
		{"empty", "", ""},
		{"not UTF-8", "\xff PASSWORD=\xfe\xff x", "\xff PASSWORD=*** x"},
	} {
		if got := Text(c.text); got != c.want {
			t.Errorf("%s: %q\n got %q\nwant %q", c.name, c.text, got, c.want)
		}
		if once := Text(c.text); Text(once) != once {
			t.Errorf("%s: a second time: %q, then %q", c.name, once, Text(once))
		}
	}
}

func TestArgs(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"mysql|--password|hun ter2|-h|db", "mysql|--password|***|-h|db"},
		{"mysql|--password|-h|db", "mysql|--password|-h|db"},
		{"env|PASSWORD=a;b c|x", "env|PASSWORD=***|x"},
		{"/usr/bin/curl|-s|-u|a:b c|http://h:1", "/usr/bin/curl|-s|-u|a:***|http://h:1"},
		{"docker|run|-u|1:1|-v|/a:/b", "docker|run|-u|1:1|-v|/a:/b"},
		{"sh|-c|curl -u a:b -H 'Authorization: Bearer abc' https://u:p@h", "sh|-c|curl -u a:*** -H 'Authorization: Bearer ***' https://u:***@h"},
		{"etcd|--name|e1|--initial-cluster|e1=http://h:1", "etcd|--name|e1|--initial-cluster|e1=http://h:1"},
		{"x|password|hunter2", "x|password|hunter2"},
	} {
		if got := strings.Join(Args(strings.Split(c.args, "|")), "|"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"a|-----BEGIN PRIVATE KEY-----|MII|=|-----END PRIVATE KEY-----|b", "a|-----BEGIN PRIVATE KEY-----***|***|***|***|b"},
		{"a|-----BEGIN PRIVATE KEY-----|MII", "a|-----BEGIN PRIVATE KEY-----***|***"},
		{"hello|AAAAAAAAAAAAAAAAAAAA|AAAAAAAAAAAAAAAAAAAA|-----END EC PRIVATE KEY-----|b", "hello|***|***|-----END EC PRIVATE KEY-----|b"},
		{"-----BEGIN PRIVATE KEY-----M-----END PRIVATE KEY-----|b", "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----|b"},
		{"PASSWORD=x|y", "PASSWORD=***|y"},
	} {
		if got := strings.Join(Lines(strings.Split(c.lines, "|")), "|"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// plant puts a secret into every string of v, as an element of an argument list
// and as a text.
func plant(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x PASSWORD=hunter2 y")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		plant(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		plant(v.Index(0))
		plant(v.Index(1))
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				plant(v.Field(i))
			}
		}
	}
}

// TestReport finds a secret in every field that a report has, now and later.
func TestReport(t *testing.T) {
	var r model.Report
	plant(reflect.ValueOf(&r).Elem())
	r.Started = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	masked := Report(&r)

	var texts func(v reflect.Value, path string, see func(path, text string))
	texts = func(v reflect.Value, path string, see func(path, text string)) {
		switch v.Kind() {
		case reflect.String:
			see(path, v.String())
		case reflect.Pointer:
			texts(v.Elem(), path, see)
		case reflect.Slice:
			for i := range v.Len() {
				texts(v.Index(i), path, see)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					texts(v.Field(i), path+"."+f.Name, see)
				}
			}
		}
	}
	n := 0
	texts(reflect.ValueOf(masked), "", func(path, text string) {
		n++
		if text != "x PASSWORD=*** y" {
			t.Errorf("%s: %q", path, text)
		}
	})
	if n < 100 {
		t.Errorf("only %d strings were seen", n)
	}
	texts(reflect.ValueOf(&r), "", func(path, text string) {
		if !strings.Contains(text, "hunter2") {
			t.Errorf("%s of the original was changed: %q", path, text)
		}
	})
	if !masked.Started.Equal(r.Started) || masked.Duration != r.Duration || masked.Pause != r.Pause || len(masked.Trial.Files) != 2 || masked.Trial.Action.Exit == r.Trial.Action.Exit {
		t.Error("what is no text is not the same")
	}
}

// TestKeyInEvidence holds a key that is quoted line by line.
func TestKeyInEvidence(t *testing.T) {
	var r model.Report
	r.Verdict.Findings = []model.Finding{{Evidence: []model.Evidence{{Source: "log", Text: "-----BEGIN PRIVATE KEY-----"}, {Source: "log", Text: "MII"}}}}
	if got := Report(&r).Verdict.Findings[0].Evidence[1]; got.Text != Mark || got.Source != "log" {
		t.Errorf("got %+v", got)
	}
}

func TestValueKeepsEmptyLists(t *testing.T) {
	type row struct{ Args, Other []string }
	got := Value([]row{{Args: []string{"--token", "x"}, Other: []string{}}})
	if want := []row{{Args: []string{"--token", Mark}, Other: []string{}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if Value[[]string](nil) != nil {
		t.Error("nothing became an empty list")
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"PASSWORD=x", `"token":"y\"z"`, "http://a:b@c", "-----BEGIN PRIVATE KEY-----\nx", "Authorization: Basic x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := Text(s)
		// A secret after what always tells of one is gone, whatever is around it.
		if got := Text("PASSWORD=hunter2tail " + s); strings.Contains(got, "hunter2tail") && !strings.Contains(s, "hunter2tail") {
			t.Errorf("got %q", got)
		}
		if len(Lines(strings.Split(s, "\n"))) != strings.Count(s, "\n")+1 {
			t.Errorf("lines of %q", s)
		}
		if !strings.Contains(out, Mark) && out != s {
			t.Errorf("%q became %q without a mark", s, out)
		}
		if args := strings.Fields(s); len(args) > 0 && slices.Contains(Args(append([]string{"--password"}, args...)), "") {
			t.Errorf("an argument of %q is gone", s)
		}
	})
}

func BenchmarkText(b *testing.B) {
	text := strings.Repeat(`{"level":"warn","ts":"2026-11-23T14:11:11.072468Z","caller":"etcdserver/cluster_util.go:261","key":"/a/b","address":"http://127.0.0.1:20457/version"}`+"\n", 7000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Text(text)
	}
}
