package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/billet-metal/billet/configdrive"
	"github.com/billet-metal/billet/node"
)

// A config drive is described by flags, so that nobody has to build an ISO to pass a key. The service builds it from its parts,
// with what it knows of the node; only user data that JSON cannot carry makes it whole here.

// driveFlags are what people ask of a config drive.
type driveFlags struct {
	hostname              string
	sshKeys               []string
	userData, networkData string // names of files
}

// configDrive makes the config drive's parts of the flags; nil when there are none. What no flag gave is
// not in it.
func configDrive(asked driveFlags) (*node.ConfigDriveParts, error) {
	meta, keys := node.Document{}, map[string]any{}
	if asked.hostname != "" {
		meta["hostname"], meta["name"] = asked.hostname, asked.hostname
	}
	for i, given := range asked.sshKeys {
		key, err := publicKey(given)
		if err != nil {
			return nil, fmt.Errorf("--ssh-key: %w", err)
		}
		keys[fmt.Sprintf("key-%d", i+1)] = key
	}
	if len(keys) > 0 {
		meta["public_keys"] = keys
	}
	var parts node.ConfigDriveParts
	if len(meta) > 0 {
		parts.MetaData = meta
	}
	if asked.networkData != "" {
		text, err := os.ReadFile(asked.networkData)
		if err == nil {
			err = json.Unmarshal(text, &parts.NetworkData)
		}
		if err != nil {
			return nil, fmt.Errorf("--network-data: %w", err)
		}
	}
	if asked.userData != "" {
		data, err := os.ReadFile(asked.userData)
		if err != nil {
			return nil, fmt.Errorf("--user-data: %w", err)
		}
		parts.UserData = string(data)
	}
	if parts.MetaData == nil && parts.UserData == nil && parts.NetworkData == nil {
		return nil, nil
	}
	return &parts, nil
}

// keyForm is how OpenSSH writes public keys: a type, then base64.
var keyForm = regexp.MustCompile(`^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+`)

// publicKey is a key, or what a file holds. A private key that is named by mistake stays here.
func publicKey(given string) (string, error) {
	if keyForm.MatchString(given) {
		return given, nil
	}
	key, err := os.ReadFile(given)
	if err != nil {
		return "", err
	}
	if bytes.Contains(key, []byte("PRIVATE KEY")) {
		return "", fmt.Errorf("%s is a private key: name the public one, mostly %s.pub", given, given)
	}
	return strings.TrimSpace(string(key)), nil
}

// partsJSON is a drive's parts as the API takes them.
func partsJSON(parts node.ConfigDriveParts) map[string]any {
	body := map[string]any{}
	if parts.MetaData != nil {
		body["meta_data"] = parts.MetaData
	}
	if parts.UserData != nil {
		body["user_data"] = parts.UserData
	}
	if parts.NetworkData != nil {
		body["network_data"] = parts.NetworkData
	}
	return body
}

// onTheWire is a drive as the API takes it: parts, where they are text. JSON has no bytes: of user data that
// are not UTF-8 (gzip, for one) the whole drive is built here.
func onTheWire(cmd *cobra.Command, ident string, parts node.ConfigDriveParts) (any, error) {
	if text, _ := parts.UserData.(string); utf8.ValidString(text) {
		return partsJSON(parts), nil
	}
	var n struct {
		UUID        string        `json:"uuid"`
		Name        *string       `json:"name"`
		NetworkData node.Document `json:"network_data"`
	}
	if err := newClient(cmd).do(cmd.Context(), "GET", nodePath(ident)+"?fields=uuid,name,network_data", nil, &n); err != nil {
		return nil, err
	}
	of := &node.Node{UUID: n.UUID, NetworkData: n.NetworkData}
	if n.Name != nil {
		of.Name = *n.Name
	}
	return configdrive.Build(parts, of)
}
