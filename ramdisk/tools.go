package ramdisk

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// What the agent calls in the ramdisk, and the packages that hold it and its libraries. The agent
// is static and does nearly everything itself; a journaling file system and software RAID are better
// made by the programs that their authors keep.
var (
	toolPackages = []string{"e2fsprogs", "libext2fs2", "libcom-err2", "libblkid1", "libuuid1", "libc6", "mdadm", "libudev1"}
	toolFiles    = []string{"sbin/mke2fs", "sbin/mdadm"}
)

const (
	loaderLink = "lib64/ld-linux-x86-64.so.2" // what every program names as its interpreter
	libraryDir = "lib/x86_64-linux-gnu/"      // where Debian's dynamic loader looks without being told
)

// tree is what packages hold: the files, and where links lead, by paths without "usr/" in front.
type tree struct {
	files map[string][]byte
	links map[string]string
}

// tools returns the programs and every library they need, links resolved.
func tools(ctx context.Context, o Options) ([]File, error) {
	t := tree{files: map[string][]byte{}, links: map[string]string{}}
	for _, name := range toolPackages {
		deb, err := archived(ctx, o, name)
		if err != nil {
			return nil, err
		}
		if err := t.read(ctx, deb); err != nil {
			return nil, err
		}
	}
	return t.collect(toolFiles)
}

// collect returns the named programs, the dynamic loader and the libraries.
func (t tree) collect(programs []string) ([]File, error) {
	taken := map[string]File{}
	for queue := slices.Clone(programs); len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if _, done := taken[name]; done {
			continue
		}
		data, ok := t.file(name)
		if !ok {
			return nil, fmt.Errorf("the packages do not hold %s, which is needed", name)
		}
		taken[name] = File{Path: name, Mode: 0o755, Data: data}
		libraries, err := needed(data)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		for _, l := range libraries {
			if l == path.Base(loaderLink) {
				queue = append(queue, loaderLink)
				continue
			}
			queue = append(queue, libraryDir+l)
		}
	}
	if data, ok := t.file(loaderLink); ok {
		taken[loaderLink] = File{Path: loaderLink, Mode: 0o755, Data: data}
	}
	files := make([]File, 0, len(taken))
	for _, f := range taken {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// file follows links inside the packages.
func (t tree) file(name string) ([]byte, bool) {
	for range 8 {
		if data, ok := t.files[name]; ok {
			return data, true
		}
		to, ok := t.links[name]
		if !ok {
			return nil, false
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(name), to)
		}
		name = plainPath(to)
	}
	return nil, false
}

// needed are the libraries that a program or library names.
func needed(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return f.ImportedLibraries()
}

// plainPath is a path in a package without its "usr/": releases differ in which half has it.
func plainPath(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path.Clean(name), "/"), "usr/")
}

// read takes a package apart, but for what is no program or library.
func (t tree) read(ctx context.Context, deb string) error {
	return eachFile(ctx, deb, func(h *tar.Header, content io.Reader) error {
		name := plainPath(h.Name)
		if !slices.ContainsFunc([]string{"sbin/", "bin/", "lib/", "lib64/"}, func(dir string) bool { return strings.HasPrefix(name, dir) }) ||
			strings.Contains(name, "/gconv/") {
			return nil
		}
		switch h.Typeflag {
		case tar.TypeReg:
			var data []byte
			if err := readAll(content, &data); err != nil {
				return err
			}
			t.files[name] = data
		case tar.TypeSymlink:
			t.links[name] = h.Linkname
		case tar.TypeLink:
			t.links[name] = "/" + plainPath(h.Linkname)
		}
		return nil
	})
}

// eachFile calls take for every entry of a .deb without writing anything to disk.
func eachFile(ctx context.Context, deb string, take func(h *tar.Header, content io.Reader) error) error {
	// dpkg-deb knows how the package is compressed; the tar stream is read here.
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", deb, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpacking %s: %w (the program dpkg-deb comes with the package dpkg)", deb, err)
	}
	readErr := eachEntry(tar.NewReader(out), take)
	if readErr != nil {
		// Let dpkg-deb end: nobody reads its pipe any more.
		out.Close()
	}
	ended := cmd.Wait()
	// A tar stream that ends too early is dpkg-deb's to explain; when we stop reading, it only
	// complains of the closed pipe.
	if ended != nil && (readErr == nil || errors.Is(readErr, io.ErrUnexpectedEOF)) {
		return fmt.Errorf("unpacking %s: %w: %s", deb, ended, strings.TrimSpace(said.String()))
	}
	if readErr != nil {
		return fmt.Errorf("reading %s: %w", deb, readErr)
	}
	return nil
}

func eachEntry(t *tar.Reader, take func(h *tar.Header, content io.Reader) error) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(h, t); err != nil {
			return err
		}
	}
}
