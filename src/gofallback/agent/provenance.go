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
	"strings"
)

// The target decides: with public keys in Paths.Keys it activates only what one of them has signed (docs/provenance.md).

const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
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

// statement is as much of in-toto's as says which bytes were signed for.
type statement struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// proven says why a release may not be activated here, in one line. Without keys everything may.
func proven(paths Paths, home, release string) error {
	keys, err := trustedKeys(paths.Keys)
	if err != nil || keys == nil {
		return err
	}
	folder := releaseFolder(home, release)
	programs, err := os.ReadDir(filepath.Join(folder, "bin"))
	if err != nil {
		return err
	}
	for _, program := range programs {
		if err := provenProgram(folder, program.Name(), keys); err != nil {
			return fmt.Errorf("bin/%s of release %s: %w; this target takes only what a key in %s has signed, nothing was changed",
				program.Name(), release, err, paths.Keys)
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
func provenProgram(folder, name string, keys []ed25519.PublicKey) error {
	sum, err := fileSum(filepath.Join(folder, "bin", name))
	if err != nil {
		return err
	}
	for _, file := range []string{name + ".provenance.json", "provenance.json"} {
		content, err := readSmall(filepath.Join(folder, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := signedFor(content, sum, keys); err != nil {
			return fmt.Errorf("%s %w", file, err)
		}
		return nil
	}
	return errors.New("there is no provenance.json")
}

// signedFor reports whether an envelope is signed with one of the keys and is about these bytes.
func signedFor(content []byte, sum string, keys []ed25519.PublicKey) error {
	var sealed envelope
	if json.Unmarshal(content, &sealed) != nil || sealed.PayloadType != payloadType {
		return errors.New("is no signed in-toto statement")
	}
	payload, err := base64.StdEncoding.DecodeString(sealed.Payload)
	if err != nil {
		return errors.New("is no signed in-toto statement")
	}
	if !signed(sealed, payload, keys) {
		return errors.New("was altered, or signed with a key that is not known here")
	}
	var made statement
	if json.Unmarshal(payload, &made) != nil || made.Type != statementType || made.PredicateType != predicateType {
		return errors.New("is no SLSA v1 provenance")
	}
	for _, subject := range made.Subject {
		if subject.Digest["sha256"] == sum {
			return nil
		}
	}
	return fmt.Errorf("is about other bytes, these have sha256 %s", sum)
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
