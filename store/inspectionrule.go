package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/billet-metal/billet/node"
)

// Conditions and actions come after the UUID they are sealed with.
var ruleColumns = []string{"uuid", "created_at", "updated_at", "description", "priority", "phase", "sensitive", "conditions", "actions"}

var ruleListing = listing{
	table: "inspection_rules", alias: "r", notFound: node.InspectionRuleNotFound,
	sortKeys: map[string]string{
		"uuid": "uuid", "description": "description", "priority": "priority", "phase": "phase", "sensitive": "sensitive",
		"created_at": "created_at", "updated_at": "updated_at",
	},
}

var ruleSelect = "SELECT r.id, r." + strings.Join(ruleColumns, ", r.") + " FROM inspection_rules r"

func (s *Store) ruleFields(r *node.InspectionRule) []any {
	return []any{
		&r.UUID, micros{&r.CreatedAt}, micros{&r.UpdatedAt}, &r.Description, &r.Priority, &r.Phase, &r.Sensitive,
		forgiving{sealed{s.seal, &r.UUID, "inspection_rule.conditions", &r.Conditions}, &r.Unreadable, "conditions"},
		forgiving{sealed{s.seal, &r.UUID, "inspection_rule.actions", &r.Actions}, &r.Unreadable, "actions"},
	}
}

func (s *Store) scanRule(row scanner) (node.InspectionRule, error) {
	var r node.InspectionRule
	err := row.Scan(append([]any{&r.ID}, s.ruleFields(&r)...)...)
	s.tellDamage("a value of an inspection rule cannot be read; inspections fail until it is mended", "inspection_rule", r.UUID, r.Unreadable)
	return r, err
}

// CreateInspectionRule adds r and fills its ID, CreatedAt and UpdatedAt, and UUID when it is empty.
func (s *Store) CreateInspectionRule(ctx context.Context, r *node.InspectionRule) error {
	if err := fresh(&r.UUID, &r.CreatedAt, &r.UpdatedAt); err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		err := row(ctx, tx, insertSQL("inspection_rules", ruleColumns)+" RETURNING id", s.ruleFields(r)...).Scan(&r.ID)
		switch {
		case duplicate(err) == "inspection_rules_uuid":
			return node.Errorf(node.Conflict, "A rule with UUID %s already exists.", r.UUID)
		case err != nil:
			return fmt.Errorf("save inspection rule %s: %w", r.UUID, err)
		}
		return nil
	})
}

// InspectionRule returns an inspection rule by UUID.
func (s *Store) InspectionRule(ctx context.Context, uuid string) (node.InspectionRule, error) {
	r, err := s.scanRule(row(ctx, s.read, ruleSelect+" WHERE r.uuid = $1", strings.ToLower(uuid)))
	if errors.Is(err, sql.ErrNoRows) {
		return node.InspectionRule{}, node.InspectionRuleNotFound(uuid)
	}
	if err != nil {
		return node.InspectionRule{}, fmt.Errorf("read inspection rule %s: %w", uuid, err)
	}
	return r, nil
}

// InspectionRules lists the inspection rules of a phase; "" is of all.
func (s *Store) InspectionRules(ctx context.Context, phase string, p node.Page) ([]node.InspectionRule, error) {
	q := &query{}
	if phase != "" {
		q.and("r.phase = $?", phase)
	}
	tail, err := s.page(ctx, ruleListing, q, p)
	if err != nil {
		return nil, err
	}
	return collectAll(ctx, s.read, "inspection rules", ruleSelect+tail, q.args, s.scanRule)
}

// SaveInspectionRule writes all of r but its UUID and CreatedAt, and sets its UpdatedAt.
func (s *Store) SaveInspectionRule(ctx context.Context, r *node.InspectionRule) error {
	r.UpdatedAt = node.Now()
	saved, err := saveByUUID(ctx, s.write, "inspection_rules", ruleColumns, s.ruleFields(r), r.UUID)
	if err != nil {
		return fmt.Errorf("save inspection rule %s: %w", r.UUID, err)
	}
	if !saved {
		return node.InspectionRuleNotFound(r.UUID)
	}
	return nil
}

// DeleteInspectionRule removes an inspection rule.
func (s *Store) DeleteInspectionRule(ctx context.Context, uuid string) error {
	return s.deleteByUUID(ctx, "inspection_rules", "inspection rule", uuid, node.InspectionRuleNotFound)
}

// DeleteInspectionRules removes all inspection rules.
func (s *Store) DeleteInspectionRules(ctx context.Context) error {
	if _, err := exec(ctx, s.write, `DELETE FROM inspection_rules`); err != nil {
		return fmt.Errorf("delete all inspection rules: %w", err)
	}
	return nil
}
