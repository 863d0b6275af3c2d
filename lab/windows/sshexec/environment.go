package main

import (
	"os"
	"strings"
	"syscall"
	"unsafe"
)

var (
	advapi32  = syscall.NewLazyDLL("advapi32.dll")
	enumValue = advapi32.NewProc("RegEnumValueW")
)

// variable is one value of HKCU\Environment.
type variable struct{ name, value string }

// sessionEnvironment is what a command of this SSH connection gets: the machine's variables as they were when the
// service started (file `machine`), with the user's from the registry on top. Like the real server it reads the
// registry once per connection: the first command of a connection leaves the result in file `session`.
func sessionEnvironment(machine, session string) ([]string, error) {
	if session != "" {
		if block, err := os.ReadFile(session); err == nil {
			return withConnection(strings.Split(string(block), "\x00")), nil
		}
	}
	environment := machineEnvironment(os.Environ())
	if machine != "" {
		block, err := os.ReadFile(machine)
		if err != nil {
			return nil, err
		}
		environment = strings.Split(string(block), "\x00")
	}
	for _, own := range userVariables() {
		value := expand(own.value, environment)
		if strings.EqualFold(own.name, "PATH") {
			if path := lookup(environment, "PATH"); path != "" {
				value = path + ";" + value
			}
		}
		environment = set(environment, own.name, value)
	}
	environment = withLogin(environment)
	if session != "" {
		if err := os.WriteFile(session, []byte(strings.Join(environment, "\x00")), 0o644); err != nil {
			return nil, err
		}
	}
	return withConnection(environment), nil
}

// withLogin sets what the server sets for every login: setup_session_env() and session.c's do_setup_env().
func withLogin(environment []string) []string {
	user, home := lookup(environment, "USERNAME"), lookup(environment, "USERPROFILE")
	for _, entry := range [][2]string{
		{"HOME", home}, {"USER", user}, {"LOGNAME", user}, {"SHELL", shell},
		{"PROMPT", user + "@" + lookup(environment, "COMPUTERNAME") + " $P$G"},
	} {
		environment = set(environment, entry[0], entry[1])
	}
	return environment
}

// withConnection adds what belongs to this very command: SSH_CLIENT and what the client sent with `env` requests.
func withConnection(environment []string) []string {
	environment = append([]string(nil), environment...)
	for _, name := range strings.Split(take("SSHEXEC_PASS"), ",") {
		if value, given := os.LookupEnv(name); given && name != "" {
			environment = set(environment, name, value)
		}
	}
	return environment
}

// machineEnvironment takes the user's own variables out again: Wine merges them into every process it starts.
func machineEnvironment(environment []string) []string {
	var kept []string
	own := userVariables()
	for _, entry := range environment {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case name == "" || strings.HasPrefix(strings.ToUpper(name), "SSH"):
			continue
		case strings.EqualFold(name, "PATH"):
			kept = append(kept, name+"="+withoutUserPath(value, own, environment))
		case !has(own, name):
			kept = append(kept, entry)
		}
	}
	return kept
}

func withoutUserPath(path string, own []variable, environment []string) string {
	for _, user := range own {
		if strings.EqualFold(user.name, "PATH") {
			path = strings.TrimSuffix(path, ";"+expand(user.value, environment))
		}
	}
	return path
}

func has(own []variable, name string) bool {
	for _, user := range own {
		if strings.EqualFold(user.name, name) {
			return true
		}
	}
	return false
}

func lookup(environment []string, name string) string {
	for _, entry := range environment {
		if key, value, _ := strings.Cut(entry, "="); strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

func set(environment []string, name, value string) []string {
	for i, entry := range environment {
		if key, _, _ := strings.Cut(entry, "="); strings.EqualFold(key, name) {
			environment[i] = key + "=" + value
			return environment
		}
	}
	return append(environment, name+"="+value)
}

// expand replaces %NAME% from `environment`; unknown names stay as they are, as ExpandEnvironmentStrings does.
func expand(text string, environment []string) string {
	parts := strings.Split(text, "%")
	var out strings.Builder
	for i := 0; i < len(parts); i++ {
		if i%2 == 1 && i < len(parts)-1 {
			if value := lookup(environment, parts[i]); value != "" {
				out.WriteString(value)
				continue
			}
			out.WriteString("%" + parts[i] + "%")
			continue
		}
		if i%2 == 1 {
			out.WriteString("%")
		}
		out.WriteString(parts[i])
	}
	return out.String()
}

// userVariables reads HKCU\Environment (text values only).
func userVariables() []variable {
	var key syscall.Handle
	name, _ := syscall.UTF16PtrFromString("Environment")
	if syscall.RegOpenKeyEx(syscall.HKEY_CURRENT_USER, name, 0, syscall.KEY_READ, &key) != nil {
		return nil
	}
	defer syscall.RegCloseKey(key)
	var found []variable
	for index := uint32(0); ; index++ {
		var label [256]uint16
		var data [32768]uint16
		var kind uint32
		chars, bytes := uint32(len(label)), uint32(len(data)*2)
		result, _, _ := enumValue.Call(uintptr(key), uintptr(index), uintptr(unsafe.Pointer(&label[0])),
			uintptr(unsafe.Pointer(&chars)), 0, uintptr(unsafe.Pointer(&kind)),
			uintptr(unsafe.Pointer(&data[0])), uintptr(unsafe.Pointer(&bytes)))
		if result != 0 {
			return found
		}
		if kind == syscall.REG_SZ || kind == syscall.REG_EXPAND_SZ {
			found = append(found, variable{syscall.UTF16ToString(label[:chars]), syscall.UTF16ToString(data[:bytes/2])})
		}
	}
}
