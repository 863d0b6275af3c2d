package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// With public keys in Paths.Keys, a target activates only programs that one of them has signed (docs/provenance.md).

const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
	buildType     = "urn:gofallback:build:go:v1"
	// maxProvenanceSize is larger than any provenance, in bytes.
	maxProvenanceSize = 16 << 20
)

// envelope is DSSE (github.com/secure-systems-lab/dsse).
type envelope struct {
	Payload     string `json:"payload"`
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig string `json:"sig"`
	} `json:"signatures"`
}

// statement is the part of an in-toto statement with SLSA provenance that says which bytes were signed, and as what.
type statement struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	Subject       []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	Predicate struct {
		BuildDefinition struct {
			BuildType          string `json:"buildType"`
			ExternalParameters struct {
				Service  string `json:"service"`
				Version  string `json:"version"`
				Platform string `json:"platform"`
			} `json:"externalParameters"`
			InternalParameters struct {
				Key string `json:"key"`
			} `json:"internalParameters"`
		} `json:"buildDefinition"`
	} `json:"predicate"`
}

// programRef is one file of a release's bin/, as the run requested it.
type programRef struct {
	service, release, name string
	sum                    string // SHA-256 of its bytes
}

// checkProvenance returns why a release may not be activated here, in one line. Without keys every release may.
func checkProvenance(paths Paths, plan Plan) error {
	keys, err := trustedKeys(paths.Keys)
	if err != nil || keys == nil {
		return err
	}
	folder := releaseFolder(plan.Home, plan.Release)
	files, err := os.ReadDir(filepath.Join(folder, "bin"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := checkProgram(folder, programRef{service: plan.Service, release: plan.Release, name: file.Name()}, keys); err != nil {
			return fmt.Errorf("bin/%s of release %s: %w; this target activates only programs that a key in %s has signed; nothing was changed",
				file.Name(), plan.Release, err, paths.Keys)
		}
	}
	return nil
}

// trustedKeys reads every *.pub of a folder; nil if there is none. A *.pub file that is not a key refuses every
// activation: whoever put it there expects it to count.
func trustedKeys(folder string) ([]ed25519.PublicKey, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var keys []ed25519.PublicKey
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".pub") {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		data, err := readSmall(path)
		if err != nil {
			return nil, err
		}
		key, err := publicKey(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; correct or remove it, nothing was changed", path, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func publicKey(data []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("is not a public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is not a public key in PEM")
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("is not an ed25519 key")
	}
	return key, nil
}

// checkProgram checks the program's own provenance, which extra binaries have, or else the release's.
func checkProgram(folder string, program programRef, keys []ed25519.PublicKey) error {
	sum, err := fileSum(filepath.Join(folder, "bin", program.name))
	if err != nil {
		return err
	}
	program.sum = sum
	for _, prefix := range []string{program.name + ".", ""} {
		content, err := readSmall(filepath.Join(folder, prefix+"provenance.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		made, err := verifiedStatement(content, program, keys)
		if err == nil {
			err = made.matchesManifest(filepath.Join(folder, prefix+"manifest.json"))
		}
		if err != nil {
			return fmt.Errorf("%sprovenance.json %w", prefix, err)
		}
		return nil
	}
	return errors.New("there is no provenance.json")
}

// verifiedStatement returns the statement of an envelope that is signed with one of the keys and describes these bytes
// as the requested program: a genuine statement about another version or service proves nothing about this release.
func verifiedStatement(content []byte, program programRef, keys []ed25519.PublicKey) (*statement, error) {
	var sealed envelope
	if json.Unmarshal(content, &sealed) != nil || sealed.PayloadType != payloadType {
		return nil, errors.New("is not a signed in-toto statement")
	}
	payload, err := base64.StdEncoding.DecodeString(sealed.Payload)
	if err != nil {
		return nil, errors.New("is not a signed in-toto statement")
	}
	if !signed(sealed, payload, keys) {
		return nil, errors.New("was altered, or signed with a key that is not known here")
	}
	var made statement
	if json.Unmarshal(payload, &made) != nil || made.Type != statementType || made.PredicateType != predicateType {
		return nil, errors.New("is not SLSA v1 provenance")
	}
	if made.Predicate.BuildDefinition.BuildType != buildType {
		return nil, fmt.Errorf("has the build type %.80q, expected %s", made.Predicate.BuildDefinition.BuildType, buildType)
	}
	return &made, made.matches(program)
}

// matches compares the statement with the program that the run requested.
func (s *statement) matches(program programRef) error {
	signed := s.Predicate.BuildDefinition.ExternalParameters
	for _, field := range []struct{ name, signed, expected string }{
		{"service", signed.Service, program.service},
		{"version", signed.Version, versionOf(program.release)},
		{"platform", signed.Platform, runtime.GOOS + "/" + runtime.GOARCH},
	} {
		if field.signed != field.expected {
			return fmt.Errorf("was signed for the %s %.80q, expected %q", field.name, field.signed, field.expected)
		}
	}
	names := []string{}
	for _, subject := range s.Subject {
		if subject.Name == program.name && subject.Digest["sha256"] == program.sum {
			return nil
		}
		names = append(names, subject.Name)
	}
	return fmt.Errorf("is about other bytes (%.80q), %s here has sha256 %s", strings.Join(names, ", "), program.name, program.sum)
}

// matchesManifest compares the statement with the manifest that the run uploaded: both must name the same build. Its key
// stands for commit, Go version, flags and everything else that decides the bytes.
func (s *statement) matchesManifest(path string) error {
	var manifest struct {
		Key string `json:"key"`
	}
	content, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("has no %s beside it", filepath.Base(path))
	}
	if err != nil {
		return err
	}
	if json.Unmarshal(content, &manifest) != nil {
		return fmt.Errorf("has a %s beside it that cannot be read", filepath.Base(path))
	}
	if signed := s.Predicate.BuildDefinition.InternalParameters.Key; manifest.Key != signed || signed == "" {
		return fmt.Errorf("is of the build %.16q, %s says %.16q", signed, filepath.Base(path), manifest.Key)
	}
	return nil
}

// versionOf is v1.1.0 for v1.1.0-1a2b3c4d: a release is named by its version and eight digits of its digest.
func versionOf(release string) string {
	if at := strings.LastIndex(release, "-"); at > 0 {
		return release[:at]
	}
	return release
}

func signed(sealed envelope, payload []byte, keys []ed25519.PublicKey) bool {
	// DSSE's pre-authentication encoding: the payload type is signed together with the payload.
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(sealed.PayloadType), sealed.PayloadType, len(payload), payload)
	for _, entry := range sealed.Signatures {
		signature, err := base64.StdEncoding.DecodeString(entry.Sig)
		if err != nil {
			continue
		}
		for _, key := range keys {
			if ed25519.Verify(key, message, signature) {
				return true
			}
		}
	}
	return false
}

func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxProvenanceSize+1))
	if err == nil && len(data) > maxProvenanceSize {
		err = fmt.Errorf("%s: is larger than %d MiB", path, maxProvenanceSize>>20)
	}
	return data, err
}
