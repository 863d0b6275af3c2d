package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// signer is a controller; targets trust its public key.
type signer struct {
	public  []byte
	private ed25519.PrivateKey
}

func newSigner(t *testing.T) signer {
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	must(t, err)
	return signer{pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), private}
}

// claims are the fields of a statement; an empty field gets the value that matches the release.
type claims struct {
	service, version, platform, name, sum, key, build string
}

const buildKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func or(given, otherwise string) string {
	if given != "" {
		return given
	}
	return otherwise
}

// seal signs a statement with these claims.
func (s signer) seal(says claims) []byte {
	payload, _ := json.Marshal(map[string]any{
		"_type": statementType, "predicateType": predicateType,
		"subject": []any{map[string]any{"name": says.name, "digest": map[string]string{"sha256": says.sum}}},
		"predicate": map[string]any{"buildDefinition": map[string]any{
			"buildType": or(says.build, buildType),
			"externalParameters": map[string]any{"service": or(says.service, "hello"), "version": says.version,
				"platform": or(says.platform, runtime.GOOS+"/"+runtime.GOARCH), "flags": []string{"-trimpath"}},
			"internalParameters": map[string]string{"key": or(says.key, buildKey)},
		}},
	})
	message := fmt.Sprintf("DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
	sealed, _ := json.Marshal(map[string]any{
		"payload": base64.StdEncoding.EncodeToString(payload), "payloadType": payloadType,
		"signatures": []map[string]string{{"keyid": "", "sig": base64.StdEncoding.EncodeToString(ed25519.Sign(s.private, []byte(message)))}},
	})
	return sealed
}

// program puts a binary into a release, with provenance by a signer.
func (h *host) program(release, name string, by *signer, file string) {
	h.programOf(release, name, by, file, claims{})
}

// programOf puts a binary into a release, with provenance of other claims.
func (h *host) programOf(release, name string, by *signer, file string, says claims) {
	folder := releaseFolder(h.home, release)
	must(h.t, os.MkdirAll(filepath.Join(folder, "bin"), 0o755))
	path := filepath.Join(folder, "bin", name)
	must(h.t, os.WriteFile(path, []byte("program "+name+" of "+release), 0o755))
	if by == nil {
		return
	}
	sum, err := fileSum(path)
	must(h.t, err)
	says.name, says.sum, says.version = or(says.name, name), or(says.sum, sum), or(says.version, versionOf(release))
	must(h.t, os.WriteFile(filepath.Join(folder, file), by.seal(says), 0o644))
	manifest := filepath.Join(folder, strings.Replace(file, "provenance", "manifest", 1))
	must(h.t, os.WriteFile(manifest, []byte(fmt.Sprintf(`{"key":%q}`, buildKey)), 0o644))
}

func (h *host) trust(name string, content []byte) {
	must(h.t, os.MkdirAll(h.paths.Keys, 0o755))
	must(h.t, os.WriteFile(filepath.Join(h.paths.Keys, name), content, 0o644))
}

func (h *host) expectRefusal(release, runID, why string) {
	h.t.Helper()
	before := h.onDisk()
	record, err := h.activation(release, runID).Run(context.Background())
	if record != nil || err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
		h.t.Fatalf("expected a refusal because of %q, got %v, %v", why, record, err)
	}
	if h.onDisk() != before {
		h.t.Errorf("before: %s\nafter:  %s", before, h.onDisk())
	}
}

func TestWithoutKeysATargetActivatesAnyRelease(t *testing.T) {
	h := newHost(t)
	h.release("v1", "hello.service")
	h.program("v1", "hello", nil, "")
	h.expect(h.activate("v1", "r1"), stateConfirmed, "v1")
	must(t, os.MkdirAll(h.paths.Keys, 0o755))
	h.trust("README", []byte("nothing that counts"))
	h.release("v2", "hello.service")
	h.program("v2", "hello", nil, "")
	h.expect(h.activate("v2", "r2"), stateConfirmed, "v2")
}

func TestATargetWithKeysActivatesOnlyWhatOneOfThemSigned(t *testing.T) {
	h, known, other := newHost(t), newSigner(t), newSigner(t)
	h.trust("controller.pub", known.public)
	h.release("v1", "hello.service")
	h.program("v1", "hello", &known, "provenance.json")
	h.expect(h.activate("v1", "r1"), stateConfirmed, "v1")

	h.release("v2", "hello.service")
	h.program("v2", "hello", &other, "provenance.json")
	h.expectRefusal("v2", "r2", "bin/hello of release v2: provenance.json was altered, or signed with a key that is not known here")
	h.trust("other.pub", other.public) // a key more is how keys are changed
	h.expect(h.activate("v2", "r3"), stateConfirmed, "v2")

	h.release("v3", "hello.service")
	h.program("v3", "hello", nil, "")
	h.expectRefusal("v3", "r4", "bin/hello of release v3: there is no provenance.json")
}

func TestBytesThatWereChangedAndStatementsOfOthersAreRefused(t *testing.T) {
	h, known := newHost(t), newSigner(t)
	h.trust("controller.pub", known.public)
	h.release("v1", "hello.service")
	h.program("v1", "hello", &known, "provenance.json")
	binary := filepath.Join(releaseFolder(h.home, "v1"), "bin", "hello")
	must(t, os.WriteFile(binary, []byte("something else"), 0o755))
	h.expectRefusal("v1", "r1", `provenance.json is about other bytes ("hello"), hello here has sha256 `)
	h.program("v1", "hello", &known, "provenance.json")

	file := filepath.Join(releaseFolder(h.home, "v1"), "provenance.json")
	good, err := os.ReadFile(file)
	must(t, err)
	var sealed map[string]any
	must(t, json.Unmarshal(good, &sealed))
	payload, _ := base64.StdEncoding.DecodeString(sealed["payload"].(string))
	sealed["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(payload), "hello", "jello", 1)))
	altered, _ := json.Marshal(sealed)
	for content, why := range map[string]string{
		string(altered): "was altered, or signed with a key that is not known here",
		"{}":            "is not a signed in-toto statement",
		"":              "is not a signed in-toto statement",
	} {
		must(t, os.WriteFile(file, []byte(content), 0o644))
		h.expectRefusal("v1", "r1", why)
	}
	must(t, os.WriteFile(file, good, 0o644))
	h.expect(h.activate("v1", "r1"), stateConfirmed, "v1")
}

// A tampered store can offer a genuine statement of this controller about other bytes or under another name.
func TestAGenuineStatementAboutAnotherBuildIsRefused(t *testing.T) {
	h, known := newHost(t), newSigner(t)
	h.trust("controller.pub", known.public)
	h.release("v1.2.0-0123abcd", "hello.service")
	for _, one := range []struct {
		says claims
		why  string
	}{
		{claims{version: "v1.1.0"}, `provenance.json was signed for the version "v1.1.0", expected "v1.2.0"`},
		{claims{version: "v1.2.0-0123abcd"}, `was signed for the version "v1.2.0-0123abcd", expected "v1.2.0"`},
		{claims{service: "shop"}, `was signed for the service "shop", expected "hello"`},
		{claims{platform: "plan9/amd64"}, `was signed for the platform "plan9/amd64", expected "` + runtime.GOOS},
		{claims{name: "helloctl"}, `is about other bytes ("helloctl"), hello here has sha256`},
		{claims{key: strings.Repeat("f", 64)}, `is of the build "ffffffffffffffff", manifest.json says "0123456789abcdef"`},
		{claims{build: "https://example.com/other"}, `has the build type "https://example.com/other"`},
	} {
		h.programOf("v1.2.0-0123abcd", "hello", &known, "provenance.json", one.says)
		h.expectRefusal("v1.2.0-0123abcd", "r1", one.why)
	}
	h.program("v1.2.0-0123abcd", "hello", &known, "provenance.json")
	manifest := filepath.Join(releaseFolder(h.home, "v1.2.0-0123abcd"), "manifest.json")
	must(t, os.WriteFile(manifest, []byte("no json"), 0o644))
	h.expectRefusal("v1.2.0-0123abcd", "r1", "has a manifest.json beside it that cannot be read")
	must(t, os.Remove(manifest))
	h.expectRefusal("v1.2.0-0123abcd", "r1", "has no manifest.json beside it")
	h.program("v1.2.0-0123abcd", "hello", &known, "provenance.json")
	h.expect(h.activate("v1.2.0-0123abcd", "r1"), stateConfirmed, "v1.2.0-0123abcd")
}

// An older release that the controller requests is a rollback: the release matches its own statement.
func TestAnOlderReleaseThatTheControllerRequestsIsARollback(t *testing.T) {
	h, known := newHost(t), newSigner(t)
	h.trust("controller.pub", known.public)
	for number, release := range []string{"v1.1.0-0123abcd", "v1.2.0-0123abcd", "v1.1.0-0123abcd"} {
		h.release(release, "hello.service")
		h.program(release, "hello", &known, "provenance.json")
		h.expect(h.activate(release, fmt.Sprintf("r%d", number)), stateConfirmed, release)
	}
}

func TestExtraBinariesHaveTheirOwnProvenance(t *testing.T) {
	h, known := newHost(t), newSigner(t)
	h.trust("controller.pub", known.public)
	h.release("v1", "hello.service")
	h.program("v1", "hello", &known, "provenance.json")
	h.program("v1", "helloctl", nil, "")
	h.expectRefusal("v1", "r1", "bin/helloctl of release v1: provenance.json is about other bytes (\"hello\")")
	h.program("v1", "helloctl", &known, "helloctl.provenance.json")
	h.expect(h.activate("v1", "r1"), stateConfirmed, "v1")
}

func TestAnInvalidKeyFileRefusesEveryActivation(t *testing.T) {
	h := newHost(t)
	h.release("v1", "hello.service")
	h.trust("broken.pub", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	h.expectRefusal("v1", "r1", "broken.pub: is not a public key in PEM; correct or remove it")
}

func TestAReleaseWithoutProvenanceCanStillBeRestored(t *testing.T) {
	h, known := newHost(t), newSigner(t)
	h.release("v1", "hello.service")
	h.program("v1", "hello", nil, "")
	h.expect(h.activate("v1", "r1"), stateConfirmed, "v1")
	h.trust("controller.pub", known.public)
	h.release("bad2", "hello.service")
	h.program("bad2", "hello", &known, "provenance.json")
	h.expect(h.activate("bad2", "r2"), stateReverted, "v1") // the previous release was never signed and is restored
	h.expect(h.activate("v1", "r3"), stateConfirmed, "v1")  // it was confirmed here before there was a key
}

func TestOtherProgramsUnderTheNameOfAConfirmedReleaseNeedProvenance(t *testing.T) {
	h, known := newHost(t), newSigner(t)
	h.release("v1", "hello.service")
	h.program("v1", "hello", nil, "")
	h.expect(h.activate("v1", "r1"), stateConfirmed, "v1")
	h.trust("controller.pub", known.public)
	h.expect(h.activate("v1", "r2"), stateConfirmed, "v1")
	binary := filepath.Join(releaseFolder(h.home, "v1"), "bin", "hello")
	must(t, os.WriteFile(binary, []byte("something else"), 0o755)) // as an upload of the same version from another store
	h.expectRefusal("v1", "r3", "bin/hello of release v1: there is no provenance.json")
	h.program("v1", "hello", nil, "")
	h.program("v1", "more", nil, "")
	h.expectRefusal("v1", "r4", "there is no provenance.json")
}
