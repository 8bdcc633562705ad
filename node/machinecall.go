package node

// MachineCall is what a deploy ramdisk tells its node's deploy interface through
// POST /v1/nodes/{node}/vendor_passthru/{method}. Whether it may is for the interface to judge.
type MachineCall struct {
	Method string // "pass_deploy_info", "pass_bootloader_install_info"
	Token  string // X-Auth-Token; a secret
	Body   Document
	Caller Caller
	// Reachable says why the service does not connect to an address that the caller gives as its own; nil: it does.
	Reachable func(address string) error
}
