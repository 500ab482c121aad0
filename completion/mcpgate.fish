# SPDX-License-Identifier: Apache-2.0
# fish: mcpgate completion fish | source, or as a file in share/fish/vendor_completions.d.
# mcpgate itself says what fits; this only hands the answer on.
function __mcpgate_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] completion words -- $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            set -l before (string replace -rf '^(--[^=]*=).*' '$1' -- (commandline -ct); or echo)
            set -l typed (string replace -r '^--[^=]*=' '' -- (commandline -ct))
            for path in (__fish_complete_path $typed)
                printf '%s%s\n' "$before" $path
            end
        else
            printf '%s\n' $line
        end
    end
end
complete -c mcpgate -f -a '(__mcpgate_complete)'
