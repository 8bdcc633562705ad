package iscsi

import "github.com/billet-metal/billet/driver"

// ramdisk is what is known of the flow's deploy ramdisk.
type ramdisk struct {
	Booted bool   `json:"booted,omitzero"` // its boot was started
	Host   string `json:"host,omitempty"`  // its address, once it has called
	Mode   string `json:"mode,omitempty"`  // the boot mode it runs in, when it said so
	Auth   string `json:"auth,omitempty"`  // "CHAP" when its target asks who logs in
	Error  string `json:"error,omitempty"` // what it could not do
}

// loader is how far the installation of a partition image's boot loader is.
type loader struct {
	Root   string `json:"root,omitempty"`   // UUID of the root file system written
	Asked  bool   `json:"asked,omitzero"`   // the ramdisk is to install it
	Status string `json:"status,omitempty"` // how that ended: the ramdisk's word
}

// The notes of a flow. Old names what versions before typed notes wrote.
var (
	ramdiskNote = driver.Note[ramdisk]{Key: "iscsi.ramdisk", Old: map[string]func(*ramdisk, string){
		"iscsi.booted": func(r *ramdisk, _ string) { r.Booted = true },
		"iscsi.host":   func(r *ramdisk, text string) { r.Host = text },
		"iscsi.mode":   func(r *ramdisk, text string) { r.Mode = text },
		"iscsi.auth":   func(r *ramdisk, text string) { r.Auth = text },
		"iscsi.error":  func(r *ramdisk, text string) { r.Error = text },
	}}
	loaderNote = driver.Note[loader]{Key: "iscsi.loader", Old: map[string]func(*loader, string){
		"iscsi.root":   func(l *loader, text string) { l.Root = text },
		"iscsi.asked":  func(l *loader, _ string) { l.Asked = true },
		"iscsi.loader": func(l *loader, text string) { l.Status = text },
	}}
)
