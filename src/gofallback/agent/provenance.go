package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
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

// The target decides: with public keys in Paths.Keys it activates only what one of them has signed (docs/provenance.md).

const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
	buildType     = "urn:gofallback:build:go:v1"
	// largest is more than any provenance has: bytes.
	largest = 16 << 20
)

// envelope is DSSE (github.com/secure-systems-lab/dsse).
type envelope struct {
	Payload     string `json:"payload"`
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		Sig string `json:"sig"`
	} `json:"signatures"`
}

// statement is as much of in-toto's and SLSA's as says which bytes were signed for, and as what.
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

// programAsked is one file of a release's bin/, as the run asked for it.
type programAsked struct {
	service, release, name string
	sum                    string // SHA-256 of its bytes
}

// proven says why a release may not be activated here, in one line. Without keys everything may.
func proven(paths Paths, plan Plan) error {
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
		if err := provenProgram(folder, programAsked{service: plan.Service, release: plan.Release, name: file.Name()}, keys); err != nil {
			return fmt.Errorf("bin/%s of release %s: %w; this target takes only what a key in %s has signed, nothing was changed",
				file.Name(), plan.Release, err, paths.Keys)
		}
	}
	return nil
}

// trustedKeys reads every *.pub of a folder; nil when there is none. A file that is no key stops everything: whoever
// put it there believes that it counts.
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
		return nil, errors.New("is no public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is no public key in PEM")
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("is no ed25519 key")
	}
	return key, nil
}

// provenProgram looks for the program's own provenance, as further binaries have one, then for the release's.
func provenProgram(folder string, asked programAsked, keys []ed25519.PublicKey) error {
	sum, err := fileSum(filepath.Join(folder, "bin", asked.name))
	if err != nil {
		return err
	}
	asked.sum = sum
	for _, prefix := range []string{asked.name + ".", ""} {
		content, err := readSmall(filepath.Join(folder, prefix+"provenance.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		made, err := signedFor(content, asked, keys)
		if err == nil {
			err = made.asManifest(filepath.Join(folder, prefix+"manifest.json"))
		}
		if err != nil {
			return fmt.Errorf("%sprovenance.json %w", prefix, err)
		}
		return nil
	}
	return errors.New("there is no provenance.json")
}

// signedFor returns what an envelope says that is signed with one of the keys and is about these bytes, as the program
// that was asked for: a genuine statement about another version or service proves nothing of this release.
func signedFor(content []byte, asked programAsked, keys []ed25519.PublicKey) (*statement, error) {
	var sealed envelope
	if json.Unmarshal(content, &sealed) != nil || sealed.PayloadType != payloadType {
		return nil, errors.New("is no signed in-toto statement")
	}
	payload, err := base64.StdEncoding.DecodeString(sealed.Payload)
	if err != nil {
		return nil, errors.New("is no signed in-toto statement")
	}
	if !signed(sealed, payload, keys) {
		return nil, errors.New("was altered, or signed with a key that is not known here")
	}
	var made statement
	if json.Unmarshal(payload, &made) != nil || made.Type != statementType || made.PredicateType != predicateType {
		return nil, errors.New("is no SLSA v1 provenance")
	}
	if made.Predicate.BuildDefinition.BuildType != buildType {
		return nil, fmt.Errorf("has the build type %.80q, expected %s", made.Predicate.BuildDefinition.BuildType, buildType)
	}
	return &made, made.about(asked)
}

// about compares what was signed with what the run asked for.
func (s *statement) about(asked programAsked) error {
	told := s.Predicate.BuildDefinition.ExternalParameters
	for _, one := range []struct{ what, told, asked string }{
		{"service", told.Service, asked.service},
		{"version", told.Version, versionOf(asked.release)},
		{"platform", told.Platform, runtime.GOOS + "/" + runtime.GOARCH},
	} {
		if one.told != one.asked {
			return fmt.Errorf("was signed for the %s %.80q, expected %q", one.what, one.told, one.asked)
		}
	}
	names := []string{}
	for _, subject := range s.Subject {
		if subject.Name == asked.name && subject.Digest["sha256"] == asked.sum {
			return nil
		}
		names = append(names, subject.Name)
	}
	return fmt.Errorf("is about other bytes (%.80q), %s here has sha256 %s", strings.Join(names, ", "), asked.name, asked.sum)
}

// asManifest compares with the manifest that the run sent along: it says what it took the program for. The key stands for
// commit, Go, flags and all else that decides the bytes.
func (s *statement) asManifest(path string) error {
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

// versionOf is v1.1.0 of v1.1.0-1a2b3c4d: a release is named by its version and eight digits of its digest.
func versionOf(release string) string {
	if at := strings.LastIndex(release, "-"); at > 0 {
		return release[:at]
	}
	return release
}

func signed(sealed envelope, payload []byte, keys []ed25519.PublicKey) bool {
	// DSSE's pre-authentication encoding: nothing that is not signed is read as if it were.
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(sealed.PayloadType), sealed.PayloadType, len(payload), payload)
	for _, one := range sealed.Signatures {
		signature, err := base64.StdEncoding.DecodeString(one.Sig)
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
	data, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err == nil && len(data) > largest {
		err = fmt.Errorf("%s: is larger than %d MiB", path, largest>>20)
	}
	return data, err
}

func fileSum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
