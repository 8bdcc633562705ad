package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNodeErased(t *testing.T) {
	const disks = `{"driver_internal_info":{"erased_disks":{
		"erase_devices_metadata":{"flow":"clean","at":"2026-11-26T09:00:00Z","disks":[
			{"name":"/dev/sda","serial":"S1","wwn":"0x5","model":"M","size":1024,"method":"metadata overwritten with zeros",
				"verified":"read back","seconds":0.04}]},
		"erase_devices":{"flow":"clean","at":"2026-11-25T09:00:00Z","disks":[
			{"name":"/dev/sda","serial":"S1","wwn":"0x5","size":1024,"method":"ATA security erase (enhanced)",
				"verified":"64 marks gone","seconds":7200.5,"not_by":["nothing: x"]},
			{"name":"/dev/sdb","serial":"","wwn":"","size":0,"skipped":"removable"},
			{"name":"/dev/sdc","serial":"S\\u001b[2J3","wwn":"","size":512,"error":"two\\nlines\\ttab"}]}}}}`
	for _, tt := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"nothing known", `{"driver_internal_info":{}}`, 200, "no disk of this node was erased by an agent that tells how\n"},
		{"no such node", `{"error_message":"{\"faultstring\":\"Node x could not be found.\"}"}`, 404, "error: Node x could not be found."},
		{"disks", strings.ReplaceAll(disks, `\\`, `\`), 200, strings.Join([]string{
			"AT FLOW STEP DISK SERIAL WWN BYTES SECONDS RESULT",
			"2026-11-25T09:00:00Z clean erase_devices /dev/sda S1 0x5 1024 7200.5 ATA security erase (enhanced), 64 marks gone; not by nothing: x",
			"2026-11-25T09:00:00Z clean erase_devices /dev/sdb - - 0 0.0 left alone: removable",
			"2026-11-25T09:00:00Z clean erase_devices /dev/sdc S\\u001b[2J3 - 512 0.0 NOT ERASED: two lines tab",
			"2026-11-26T09:00:00Z clean erase_devices_metadata /dev/sda S1 0x5 1024 0.0 metadata overwritten with zeros, read back", "",
		}, "\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !json.Valid([]byte(tt.body)) {
				t.Fatal("the test's answer is no JSON")
			}
			asked := ""
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.Method + " " + r.URL.String()
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer s.Close()
			var out strings.Builder
			cmd := nodeCommand()
			cmd.SetArgs([]string{"erased", "x", "--api", s.URL})
			cmd.SetOut(&out)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			got := ""
			if err := cmd.Execute(); err != nil {
				got = "error: " + err.Error()
			} else {
				for line := range strings.SplitAfterSeq(out.String(), "\n") {
					end := ""
					if strings.HasSuffix(line, "\n") {
						end = "\n"
					}
					got += strings.Join(strings.Fields(line), " ") + end
				}
			}
			if !strings.HasPrefix(got, tt.want) || tt.status == 200 && got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if asked != "GET /v1/nodes/x?fields=driver_internal_info" {
				t.Errorf("asked %s", asked)
			}
		})
	}
}
